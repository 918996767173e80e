/* lamina check on sets with boxes: what is in them, what is left out, what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/commands.h"
#include "unit/box_sets.h"
#include "unit/sample_files.h"

/* Runs it; the output is free()d by the caller. */
static int check(const char *data, char **text) {
    static const struct lam_task *const no_tasks[] = {NULL};
    char *argv[] = {"lamina", "check", "--data", (char *)data, NULL};
    size_t size;
    FILE *out = open_memstream(text, &size);
    int status = lam_commands_program(no_tasks, NULL, 4, argv, out, out);
    fclose(out);
    return status;
}

static void expect(const char *data, int status, const char *const *lines) {
    char *text;
    int got = check(data, &text);
    if (got != status) fail_msg("%s: exit status %d, not %d: %s", data, got, status, text);
    for (; *lines; lines++)
        if (!strstr(text, *lines)) fail_msg("no '%s' in: %s", *lines, text);
    free(text);
}

static char *small_set(const char *more) {
    char *folder = make_folder();
    char *json = lam_format("{\"categories\": [{\"id\": 4, \"name\": \"cat\"}, {\"id\": 9, \"name\": "
                            "\"dog\"}, {\"id\": 10, \"name\": "
                            "\"ape\"}], \"images\": [{\"id\": 1, \"file_name\": \"a.png\"}, {\"id\": 2, "
                            "\"file_name\": \"b.png\"}],"
                            "\"annotations\": [{\"image_id\": 1, \"category_id\": 9, \"bbox\": [1, 1, 5, 5]},"
                            "{\"image_id\": 1, \"category_id\": 4, \"bbox\": [-1, 1, 5, 5]},"
                            "{\"image_id\": 1, \"category_id\": 9, \"bbox\": [2, 2, 5, 5]},"
                            "{\"image_id\": 1, \"category_id\": 9, \"bbox\": [1, 1, 5, 0]},"
                            "{\"image_id\": 1, \"category_id\": 9, \"bbox\": [20, 1, 5, 1]}%s]}",
                            more);
    write_file(folder, "annotations/instances_train.json", json, strlen(json));
    write_picture(folder, "a.png", 20, 10);
    write_picture(folder, "b.png", 20, 10);
    free(json);
    return folder;
}

static void a_good_set(void **state) {
    (void)state;
    char *folder = small_set(""), *data = lam_format("coco:%s", folder);
    static const char *const lines[] = {"training part: 2 samples of 3 classes, 20 x 10; 0 bad\n",
                                        "3 boxes: cat 1, dog 2; 1 images without boxes\n",
                                        "cut at its border: 1\n",
                                        "boxes left out, no wider or higher than nothing: 1\n",
                                        "boxes left out, outside their image: 1\n",
                                        NULL};
    expect(data, 0, lines);
    free(data);
    remove_folder(folder);
}

static void a_bad_set(void **state) {
    (void)state;
    char *folder = small_set(", {\"id\": 7, \"image_id\": 2, \"category_id\": 5, \"bbox\": [1, 1, 2, 2]}"
                             ", {\"id\": 8, \"image_id\": 3, \"category_id\": 9, \"bbox\": [1, 1, 2, 2]}");
    char *data = lam_format("coco:%s", folder);
    static const char *const lines[] = {
        "b.png: ",
        "annotation 7: 'category_id' is 5, which is nowhere defined\n",
        "instances_train.json: annotation 8: 'image_id' is 3, which is nowhere defined\n",
        "training part: 1 samples of 3 classes, 20 x 10; 2 bad\n",
        "3 boxes: cat 1, dog 2; 0 images without",
        "boxes left out, of images that are not listed: 1\n",
        "2 bad samples; --on-bad skip trains without",
        NULL};
    expect(data, 2, lines);
    free(data);
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_set),
        cmocka_unit_test(a_bad_set),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
