/* Files: reads, and writes that leave either the old file or the new one, never a part. Every test works in a
 * fresh folder, which is looked through afterwards: a failed write must leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

static int make_folder(void **state) {
    char *folder = strdup("/tmp/lamina-files-XXXXXX");
    if (!folder || !mkdtemp(folder)) return -1;
    *state = folder;
    return 0;
}

static int remove_folder(void **state) {
    char *command = lam_format("chmod -R u+rwx '%s' && rm -rf '%s'", (char *)*state, (char *)*state);
    int failed = !command || system(command) != 0;
    free(command);
    free(*state);
    return failed ? -1 : 0;
}

static char *inside(void **state, const char *name) {
    char *path = lam_path_join(*state, name);
    assert_non_null(path);
    return path;
}

static int entries(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(dir);
    return count;
}

static void check_content(const char *path, const void *expected, size_t size) {
    uint8_t *data;
    size_t got;
    assert_int_equal(lam_file_read(path, &data, &got), LAM_OK);
    assert_int_equal(got, size);
    assert_memory_equal(data, expected, size);
    assert_int_equal(data[size], 0);
    free(data);
}

static void test_write_and_read(void **state) {
    char *path = inside(state, "a.bin");
    static const char bytes[] = "one\0two\n";
    assert_int_equal(lam_file_write(path, bytes, sizeof bytes), LAM_OK);
    check_content(path, bytes, sizeof bytes);
    assert_int_equal(lam_file_write(path, "new", 3), LAM_OK);
    check_content(path, "new", 3);
    assert_int_equal(lam_file_write(path, NULL, 0), LAM_OK);
    check_content(path, "", 0);
    assert_int_equal(entries(*state), 1);
    free(path);
}

static void test_read_failures(void **state) {
    char *path = inside(state, "missing");
    uint8_t *data = NULL;
    size_t size = 7;
    assert_int_equal(lam_file_read(path, &data, &size), LAM_ERR_NOT_FOUND);
    assert_non_null(strstr(lam_error_text(), path));
    assert_int_equal(lam_file_read(*state, &data, &size), LAM_ERR_INVALID); /* a folder */
    assert_null(data);
    assert_int_equal(size, 7);
    free(path);
}

static void test_abandon_keeps_the_old_file(void **state) {
    char *path = inside(state, "a");
    struct lam_atomic_file file;
    assert_int_equal(lam_file_write(path, "old", 3), LAM_OK);
    assert_int_equal(lam_atomic_open(&file, path), LAM_OK);
    fputs("half of the n", file.stream);
    fflush(file.stream);
    check_content(path, "old", 3);
    lam_atomic_abandon(&file);
    lam_atomic_abandon(&file); /* harmless */
    check_content(path, "old", 3);
    assert_int_equal(entries(*state), 1);
    free(path);
}

static void test_commit_in_pieces(void **state) {
    char *path = inside(state, "a");
    struct lam_atomic_file file;
    assert_int_equal(lam_atomic_open(&file, path), LAM_OK);
    fputs("one ", file.stream);
    assert_false(lam_path_exists(path));
    fputs("two", file.stream);
    assert_int_equal(lam_atomic_commit(&file), LAM_OK);
    check_content(path, "one two", 7);
    assert_int_equal(entries(*state), 1);
    free(path);
}

/* The disk is full: here, the limit on a file's size is reached. */
static void test_full_disk_keeps_the_old_file(void **state) {
    enum { LIMIT = 4096 };
    char *path = inside(state, "a");
    static uint8_t large[3 * LIMIT];
    assert_int_equal(lam_file_write(path, "old", 3), LAM_OK);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit tight = {LIMIT, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    lam_status status = lam_file_write(path, large, sizeof large);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, LAM_ERR_IO);
    assert_non_null(strstr(lam_error_text(), path));
    check_content(path, "old", 3);
    assert_int_equal(entries(*state), 1);
    free(path);
}

/* Renaming over a folder fails after all was written. */
static void test_failed_rename_leaves_nothing(void **state) {
    char *path = inside(state, "folder"), *below = inside(state, "folder/file");
    assert_int_equal(lam_make_folders(path), LAM_OK);
    assert_int_equal(lam_file_write(below, "x", 1), LAM_OK);
    assert_int_equal(lam_file_write(path, "data", 4), LAM_ERR_IO);
    check_content(below, "x", 1);
    assert_int_equal(entries(*state), 1);
    free(below);
    free(path);
}

static void test_unwritable_folder(void **state) {
    char *folder = inside(state, "locked"), *path = inside(state, "locked/a");
    char *nowhere = inside(state, "none/a");
    assert_int_equal(lam_file_write(nowhere, "x", 1), LAM_ERR_IO);
    assert_int_equal(lam_make_folders(folder), LAM_OK);
    assert_int_equal(lam_file_write(path, "old", 3), LAM_OK);
    assert_int_equal(chmod(folder, 0500), 0);
    if (geteuid() != 0) { /* root may write everywhere */
        assert_int_equal(lam_file_write(path, "new", 3), LAM_ERR_IO);
        check_content(path, "old", 3);
    }
    free(nowhere);
    free(path);
    free(folder);
}

static void test_folders(void **state) {
    char *deep = inside(state, "a/b/c"), *slash = inside(state, "a/b/c/"), *file = inside(state, "a/file"),
         *under = inside(state, "a/file/b");
    assert_int_equal(lam_make_folders(deep), LAM_OK);
    assert_true(lam_path_is_folder(deep));
    assert_int_equal(lam_make_folders(deep), LAM_OK);
    assert_int_equal(lam_make_folders(slash), LAM_OK);
    assert_int_equal(lam_file_write(file, "x", 1), LAM_OK);
    assert_true(lam_path_exists(file));
    assert_false(lam_path_is_folder(file));
    assert_int_equal(lam_make_folders(under), LAM_ERR_INVALID);
    assert_int_equal(lam_make_folders(file), LAM_ERR_INVALID);
    assert_non_null(strstr(lam_error_text(), "is a file, not a folder"));
    /* The same asked beforehand, which makes nothing. */
    char *later = inside(state, "later/deeper");
    assert_int_equal(lam_check_output_folder(under), LAM_ERR_INVALID);
    assert_int_equal(lam_check_output_folder(file), LAM_ERR_INVALID);
    assert_int_equal(lam_check_output_folder(deep), LAM_OK);
    assert_int_equal(lam_check_output_folder(later), LAM_OK);
    assert_int_equal(lam_check_output_file(file), LAM_OK);
    assert_int_equal(lam_check_output_file(under), LAM_ERR_INVALID);
    assert_int_equal(lam_check_output_file(deep), LAM_ERR_INVALID);
    assert_int_equal(lam_check_output_file(later), LAM_ERR_INVALID);
    assert_false(lam_path_exists(later));
    free(later);
    free(under);
    free(file);
    free(slash);
    free(deep);
}

static void test_absolute(void **state) {
    (void)state;
    char *here = getcwd(NULL, 0), *joined = lam_path_join(here, "a/b");
    static const char *const same[] = {"a/b", "./a/b", ".//./a/b"};
    for (int i = 0; i < 3; i++) {
        char *path = lam_path_absolute(same[i]);
        assert_string_equal(path, joined);
        free(path);
    }
    char *dot = lam_path_absolute("."), *root = lam_path_absolute("/x/../y");
    assert_string_equal(dot, here);
    assert_string_equal(root, "/x/../y");
    free(root);
    free(dot);
    free(joined);
    free(here);
}

static void check_join(const char *folder, const char *name, const char *expected) {
    char *path = lam_path_join(folder, name);
    assert_string_equal(path, expected);
    free(path);
}

static void test_paths(void **state) {
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("/", "b", "/b");
    check_join("", "b", "b");
    char *text = lam_format("%s-%04d", "x", 7);
    assert_string_equal(text, "x-0007");
    free(text);
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"batch", "blocks", "epochs", "model", "lr"};
    enum { COUNT = sizeof names / sizeof *names };
    assert_string_equal(lam_nearest("bacth", names, COUNT), "batch");
    assert_string_equal(lam_nearest("block", names, COUNT), "blocks");
    assert_string_equal(lam_nearest("epoch", names, COUNT), "epochs");
    assert_string_equal(lam_nearest("lr", names, COUNT), "lr");
    assert_null(lam_nearest("schedule", names, COUNT));
    assert_null(lam_nearest("xy", names, COUNT));
    assert_null(lam_nearest("batch", names, 0));
    char long_word[200];
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = 0;
    assert_null(lam_nearest(long_word, names, COUNT));
}

static void test_bytes_text(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {200ull << 20, "200 MiB"},
        {3ull << 29, "1.5 GiB"},
        {5ull << 40, "5.0 TiB"},
        {5ull << 50, "5120 TiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        assert_string_equal(lam_bytes_text(cases[i].bytes, text, sizeof text), cases[i].text);
    }
}

static void test_bytes_parse(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1000000", 1000000},
        {"512M", 512ull << 20},
        {"1.5GiB", 3ull << 29},
        {"2k", 2048},
        {"3KB", 3072},
        {"7B", 7},
        {"1 MiB", 1ull << 20},
        {"2T", 2ull << 40},
        {"1e3", 1000},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 1;
        assert_int_equal(lam_bytes_parse(good[i].text, &bytes), LAM_OK);
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {"",    "M",   "-1",    "12X",  "1.5GiBs", "1GB2",
                                      "nan", "inf", "1e300", "10MM", "8388608T"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes = 77;
        if (lam_bytes_parse(bad[i], &bytes) != LAM_ERR_INVALID) fail_msg("'%s' was taken", bad[i]);
        assert_true(bytes == 77);
    }
}

static void test_seconds(void **state) {
    (void)state;
    double before = lam_seconds();
    usleep(2000);
    double passed = lam_seconds() - before;
    assert_true(passed >= 0.002 && passed < 10);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_write_and_read),
        IN_FOLDER(test_read_failures),
        IN_FOLDER(test_abandon_keeps_the_old_file),
        IN_FOLDER(test_commit_in_pieces),
        IN_FOLDER(test_full_disk_keeps_the_old_file),
        IN_FOLDER(test_failed_rename_leaves_nothing),
        IN_FOLDER(test_unwritable_folder),
        IN_FOLDER(test_folders),
        cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_bytes_text),
        cmocka_unit_test(test_bytes_parse),
        cmocka_unit_test(test_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
