#include "bench/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "local/model_network.h"
#include "tasks/classify/heads.h"
#include "tasks/detect/detect.h"
#include "tasks/sr/sr.h"

static lam_value build_output(void *task, struct lam_graph *graph, lam_value logits,
                              const lam_value *inputs) {
    (void)task;
    return classify_output(graph, logits, inputs[1], 0, false);
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    (void)taps;
    const struct lam_model *model = task;
    return build_output(task, graph, classify_local_logits(graph, x, model->options.classes), inputs);
}

/* ---- classifiers: pixels that the device normalises and moves, as in training on CIFAR ---- */

static const struct lam_augment_attr augment = {
    .normalize = {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}},
    .pad = 4,
    .reflect = true,
    .flip = true,
};

static lam_status open_classifier(const char *model, int image_size, int classes, struct bench_network *n) {
    struct lam_model_options options = {.image_size = image_size, .channels = 3, .classes = classes};
    LAM_TRY(lam_model_create(model, &options, &n->model));
    n->fields[0] = (struct lam_field){"image", LAM_U8, LAM_SHAPE(3, image_size, image_size)};
    n->fields[1] = (struct lam_field){"label", LAM_I32, LAM_SCALAR};
    n->network = lam_model_network(n->model);
    n->network.fields = n->fields;
    n->network.field_count = 2;
    n->network.normalize = &augment.normalize;
    n->network.augment = &augment;
    n->network.task = n->model;
    n->network.build_output = build_output;
    n->network.build_local_head = build_local_head;
    n->network.small_head = true;
    return LAM_OK;
}

static lam_status fill_classifier(const struct bench_network *n, void *const *host) {
    size_t samples = (size_t)n->batch, values = (size_t)lam_shape_count(n->fields[0].shape) * samples;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    for (size_t i = 0; i < values; i++) ((uint8_t *)host[0])[i] = (uint8_t)lam_rng_below(&rng, 256);
    for (size_t i = 0; i < samples; i++)
        ((int32_t *)host[1])[i] = (int32_t)lam_rng_below(&rng, (uint32_t)n->model->options.classes);
    return LAM_OK;
}

/* ---- other tasks ---- */

static lam_status open_task(const struct lam_task *task, const char *model, const char *image_size,
                            struct bench_network *n) {
    char batch[16];
    snprintf(batch, sizeof batch, "%d", n->batch);
    LAM_TRY(lam_settings_open(task, &n->settings));
    const char *const size = task == &lam_task_sr ? "patch" : "image-size";
    const char *const set[][2] = {
        {"data", "shapes"}, {"model", model}, {"batch", batch}, {size, image_size}, {"loader-threads", "1"}};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        if (*set[i][1]) LAM_TRY(lam_options_set(&n->settings.options, set[i][0], set[i][1]));
    LAM_TRY(task->open(&n->settings.config, n->settings.own, LAM_USE_TRAIN, NULL, &n->state));
    n->network = *task->network(n->state);
    return LAM_OK;
}

static lam_status fill_task(const struct bench_network *n, void *const *host) {
    for (int row = 0; row < n->batch; row++) {
        void *data[LAM_MAX_FIELDS];
        struct lam_fill at = {
            .seed = 1, .index = row, .slot = row, .batch_indices = n->indices, .batch_count = n->batch};
        for (int f = 0; f < n->network.field_count; f++)
            data[f] = (char *)host[f] + (size_t)row * (size_t)lam_shape_count(n->network.fields[f].shape) *
                                            lam_dtype_bytes(n->network.fields[f].dtype);
        LAM_TRY(n->settings.task->fill_train(n->state, &at, data));
    }
    return LAM_OK;
}

/* ---- both ---- */

static bool is_one_of(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static lam_status parse_side(const char *text, int *side) {
    char *end;
    long value = *text ? strtol(text, &end, 10) : 32;
    if (*text && (*end || value < 8 || value > 1024))
        return lam_fail(LAM_ERR_INVALID, "--image-size '%s': a classifier takes one number in 8..1024", text);
    *side = (int)value;
    return LAM_OK;
}

lam_status bench_network_open(const char *model, const char *image_size, int classes, int batch,
                              struct bench_network *n) {
    n->batch = batch;
    n->indices = calloc((size_t)batch, sizeof *n->indices);
    if (!n->indices) return lam_no_memory();
    for (int i = 0; i < batch; i++) n->indices[i] = i;
    static const struct lam_task *const tasks[] = {&lam_task_detect, &lam_task_sr};
    for (int t = 0; t < 2; t++)
        if (is_one_of(tasks[t]->models, model)) return open_task(tasks[t], model, image_size, n);
    int side = 0;
    LAM_TRY(parse_side(image_size, &side));
    return open_classifier(model, side, classes, n);
}

void bench_network_close(struct bench_network *n) {
    if (n->state) n->settings.task->close(n->state);
    if (n->settings.task) lam_settings_close(&n->settings);
    lam_model_destroy(n->model);
    free(n->indices);
}

struct lam_optimizer_options bench_network_optimizer(const struct bench_network *n) {
    bool adaptive = n->state || !strncmp(n->model->name, "vit", 3);
    return lam_optimizer_default_options(adaptive ? LAM_OPTIMIZER_ADAMW : LAM_OPTIMIZER_SGD);
}

static size_t field_bytes(const struct bench_network *n, int f) {
    const struct lam_field *field = &n->network.fields[f];
    return (size_t)lam_shape_count(field->shape) * lam_dtype_bytes(field->dtype) * (size_t)n->batch;
}

static lam_status upload(const struct bench_network *n, struct lam_device *device, void **host,
                         struct lam_batch *batch) {
    for (int f = 0; f < n->network.field_count; f++) {
        host[f] = calloc(1, field_bytes(n, f));
        if (!host[f]) return lam_no_memory();
    }
    LAM_TRY(n->state ? fill_task(n, host) : fill_classifier(n, host));
    *batch = (struct lam_batch){.count = n->batch, .indices = n->indices};
    for (int f = 0; f < n->network.field_count; f++) {
        LAM_TRY(lam_device_alloc(device, LAM_MEMORY_DATA, field_bytes(n, f), &batch->data[f]));
        LAM_TRY(lam_device_upload(device, batch->data[f], host[f], field_bytes(n, f)));
    }
    return LAM_OK;
}

lam_status bench_network_batch(const struct bench_network *n, struct lam_device *device,
                               struct lam_batch *batch) {
    void *host[LAM_MAX_FIELDS] = {0};
    lam_status status = upload(n, device, host, batch);
    for (int f = 0; f < LAM_MAX_FIELDS; f++) free(host[f]);
    return status;
}
