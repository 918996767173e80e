#include "bench/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "local/model_network.h"
#include "tasks/classify/heads.h"

static lam_value build_output(void *task, struct lam_graph *graph, lam_value logits,
                              const lam_value *inputs) {
    (void)task;
    return classify_output(graph, logits, inputs[1], 0, false);
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs) {
    const struct lam_model *model = task;
    return build_output(task, graph, classify_local_logits(graph, x, model->options.classes), inputs);
}

lam_status bench_network_open(const char *model, int image_size, int classes, int batch,
                              struct bench_network *n) {
    struct lam_model_options options = {.image_size = image_size, .channels = 3, .classes = classes};
    LAM_TRY(lam_model_create(model, &options, &n->model));
    n->fields[0] = (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, image_size, image_size)};
    n->fields[1] = (struct lam_field){"label", LAM_I32, LAM_SCALAR};
    n->network = lam_model_network(n->model);
    n->network.fields = n->fields;
    n->network.field_count = 2;
    n->network.task = n->model;
    n->network.build_output = build_output;
    n->network.build_local_head = build_local_head;
    n->network.small_head = true;
    n->batch = batch;
    n->indices = calloc((size_t)batch, sizeof *n->indices);
    return n->indices ? LAM_OK : lam_no_memory();
}

void bench_network_close(struct bench_network *n) {
    lam_model_destroy(n->model);
    free(n->indices);
}

struct lam_optimizer_options bench_network_optimizer(const struct bench_network *n) {
    bool transformer = !strncmp(n->model->name, "vit", 3);
    return lam_optimizer_default_options(transformer ? LAM_OPTIMIZER_ADAMW : LAM_OPTIMIZER_SGD);
}

lam_status bench_network_batch(const struct bench_network *n, struct lam_device *device,
                               struct lam_batch *batch) {
    size_t samples = (size_t)n->batch, values = (size_t)lam_shape_count(n->fields[0].shape) * samples;
    void *data[2];
    LAM_TRY(lam_device_alloc(device, LAM_MEMORY_DATA, values * sizeof(float), &data[0]));
    LAM_TRY(lam_device_alloc(device, LAM_MEMORY_DATA, samples * sizeof(int32_t), &data[1]));
    float *images = malloc(values * sizeof *images);
    int32_t *labels = malloc(samples * sizeof *labels);
    lam_status status = images && labels ? LAM_OK : lam_no_memory();
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    for (size_t i = 0; status == LAM_OK && i < values; i++) images[i] = lam_rng_normal(&rng);
    for (size_t i = 0; status == LAM_OK && i < samples; i++)
        labels[i] = (int32_t)lam_rng_below(&rng, (uint32_t)n->model->options.classes);
    if (status == LAM_OK) status = lam_device_upload(device, data[0], images, values * sizeof *images);
    if (status == LAM_OK) status = lam_device_upload(device, data[1], labels, samples * sizeof *labels);
    free(images);
    free(labels);
    *batch = (struct lam_batch){.count = n->batch, .indices = n->indices, .data = {data[0], data[1]}};
    return status;
}
