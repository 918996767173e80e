/* lamina predict: what the network says of image files. An image that cannot be read is named, the others are
 * done, and the exit status tells. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/commands.h"
#include "train/trained.h"

enum { MOST_IMAGES = 65536, MOST_AT_ONCE = 32 };

struct predict {
    struct lam_trained trained;
    const struct lam_command_options *options;
    FILE *out, *err;
    void *device_data; /* a batch of field 0 */
    char *host_data;
    size_t sample_bytes;
    json_t *list;
    int bad;
    size_t pictures;
};

/* "FOLDER/name-predicted.png", name without folder and ending, numbered: two images may have one name. */
static lam_status save_picture(const struct predict *p, const char *image, size_t number,
                               const struct lam_image *picture) {
    const char *slash = strrchr(image, '/');
    const char *name = slash ? slash + 1 : image, *dot = strrchr(name, '.');
    int length = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    char *path = lam_format("%s/%04zu-%.*s.png", p->options->out, number, length, name);
    lam_status status = path ? lam_image_save_png(path, picture) : lam_no_memory();
    free(path);
    return status;
}

/* What was predicted for an image; both are taken. */
static lam_status keep(struct predict *p, const char *image, json_t *json, struct lam_image *picture) {
    lam_status status = LAM_OK;
    if (*p->options->out && picture->width) status = save_picture(p, image, ++p->pictures, picture);
    if (json_is_array(json)) { /* several results: one list of all */
        json_array_extend(p->list, json);
        json_decref(json);
    } else {
        json_array_append_new(p->list, json);
    }
    lam_image_free(picture);
    return status;
}

static lam_status tell(struct predict *p, int row, const char *image) {
    struct lam_image picture = {0};
    json_t *json = NULL;
    LAM_TRY(
        p->trained.task->predict(p->trained.state, p->trained.block, row, image, p->out, &json, &picture));
    return keep(p, image, json, &picture);
}

static void tell_bad(struct predict *p) {
    fprintf(p->err, "lamina predict: %s\n", lam_error_text());
    p->bad++;
}

/* Loads as many images as fill a batch; returns how many were taken from the list. */
static int load_batch(struct predict *p, const char **images, int left, const char **loaded, int *count) {
    int taken = 0;
    *count = 0;
    while (taken < left && *count < p->trained.batch) {
        const char *image = images[taken++];
        char *place = p->host_data + (size_t)*count * p->sample_bytes;
        if (p->trained.task->load(p->trained.state, image, place) == LAM_OK) {
            loaded[(*count)++] = image;
            continue;
        }
        tell_bad(p);
    }
    return taken;
}

static lam_status predict_batch(struct predict *p, const char **loaded, int count) {
    struct lam_batch batch = {.count = count, .data = {p->device_data}};
    if (count == 0) return LAM_OK;
    LAM_TRY(lam_device_upload(p->trained.device, p->device_data, p->host_data,
                              p->sample_bytes * (size_t)p->trained.batch));
    LAM_TRY(lam_block_evaluate(p->trained.block, &batch, NULL));
    for (int row = 0; row < count; row++) LAM_TRY(tell(p, row, loaded[row]));
    return LAM_OK;
}

static lam_status make_buffers(struct predict *p) {
    const struct lam_field *field = &p->trained.fields[0];
    p->sample_bytes = (size_t)lam_shape_count(field->shape) * lam_dtype_bytes(field->dtype);
    p->host_data = calloc((size_t)p->trained.batch, p->sample_bytes);
    if (!p->host_data) return lam_no_memory();
    return lam_device_alloc(p->trained.device, LAM_MEMORY_DATA, p->sample_bytes * (size_t)p->trained.batch,
                            &p->device_data);
}

static lam_status write_list(struct predict *p) {
    if (*p->options->out) {
        char *path = lam_path_join(p->options->out, "predictions.json");
        lam_status status =
            path ? lam_command_write_json(path, json_incref(p->list), p->out) : lam_no_memory();
        free(path);
        LAM_TRY(status);
    }
    return *p->options->json ? lam_command_write_json(p->options->json, json_incref(p->list), p->out)
                             : LAM_OK;
}

static lam_status predict_in_batches(struct predict *p, const char **images, int count) {
    const char *loaded[MOST_AT_ONCE];
    LAM_TRY(make_buffers(p));
    for (int at = 0; at < count;) {
        int rows;
        at += load_batch(p, images + at, count - at, loaded, &rows);
        LAM_TRY(predict_batch(p, loaded, rows));
    }
    return LAM_OK;
}

/* The file is to blame, not the machine. */
static bool is_bad_image(lam_status status) {
    return status == LAM_ERR_FORMAT || status == LAM_ERR_UNSUPPORTED || status == LAM_ERR_NOT_FOUND ||
           status == LAM_ERR_IO;
}

static lam_status predict_one_by_one(struct predict *p, const char **images, int count) {
    const struct lam_task *task = p->trained.task;
    struct lam_asker asker = lam_trained_asker(&p->trained);
    for (int i = 0; i < count; i++) {
        struct lam_image picture = {0};
        json_t *json = NULL;
        lam_status status = task->predict_image(p->trained.state, &asker, images[i], p->out, &json, &picture);
        if (is_bad_image(status)) {
            tell_bad(p);
            continue;
        }
        LAM_TRY(status);
        LAM_TRY(keep(p, images[i], json, &picture));
    }
    return LAM_OK;
}

static lam_status predict_all(struct predict *p, const char **images, int count) {
    if (*p->options->out) LAM_TRY(lam_make_folders(p->options->out));
    p->list = json_array();
    if (!p->list) return lam_no_memory();
    LAM_TRY(p->trained.task->predict_image ? predict_one_by_one(p, images, count)
                                           : predict_in_batches(p, images, count));
    LAM_TRY(write_list(p));
    if (p->bad) return lam_fail(LAM_ERR_FORMAT, "%d of %d images could not be read", p->bad, count);
    return LAM_OK;
}

static lam_status predict(const struct lam_task *const *tasks, const char **words, int count,
                          const struct lam_command_options *options, FILE *out, FILE *err) {
    struct predict p = {.options = options, .out = out, .err = err};
    int images = count - 1;
    if (images < 1) return lam_fail(LAM_ERR_INVALID, "a CHECKPOINT and at least one IMAGE are needed");
    struct lam_trained_options use = {.use = LAM_USE_PREDICT,
                                      .devices = options->devices,
                                      .memory_limit = options->memory_limit,
                                      .threads = options->threads,
                                      .batch = images < MOST_AT_ONCE ? images : MOST_AT_ONCE,
                                      .raw = options->weights == 1,
                                      .words = options->task_words,
                                      .word_count = options->task_word_count};
    lam_status status = lam_trained_open(tasks, words[0], &use, &p.trained);
    if (status == LAM_OK) status = predict_all(&p, words + 1, images);
    free(p.host_data);
    json_decref(p.list);
    lam_trained_close(&p.trained);
    return status;
}

LAM_COMMAND(predict) {
    struct lam_command_options options;
    const char **words = calloc(MOST_IMAGES, sizeof *words);
    int count = 0;
    bool done;
    if (!words) return lam_no_memory();
    lam_status status =
        lam_command_parse_with(tasks, command, argc, argv, &options, words, MOST_IMAGES, &count, out, &done);
    if (status == LAM_OK && !done) status = predict(tasks, words, count, &options, out, err);
    lam_command_options_free(&options);
    free(words);
    return status;
}
