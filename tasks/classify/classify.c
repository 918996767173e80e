/* The classification task: its options, what it opens, the network it asks for, and its row of functions. */
#include "tasks/classify/classify.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "local/model_network.h"
#include "tasks/classify/heads.h"
#include "tasks/classify/internal.h"

#define ROW(...) LAM_OPTION_ROW(struct classify_config, __VA_ARGS__)

static const char *const pad_modes[] = {"reflect", "zero", NULL};

static const struct lam_option options[] = {
#define GROUP "Images"
    ROW("image-size", INT, image_size, "0", GROUP, LAM_RANGE(0, 2048), .placeholder = "PIXELS",
        .help = "side of the square that the network sees; 0 = the data's own"),
    ROW("crop-pad", INT, crop_pad, "0", GROUP, LAM_RANGE(0, 256), .placeholder = "PIXELS",
        .help = "pad on each side, then cut a random square; 0 = off"),
    ROW("pad-mode", CHOICE, pad_mode, "reflect", GROUP, .choices = pad_modes,
        .help = "what --crop-pad pads with"),
    ROW("flip", BOOL, flip, "no", GROUP, .help = "mirror half of the images"),
    ROW("resized-crop", BOOL, resized_crop, "no", GROUP, .help = "cut a random rectangle and resize it"),
    ROW("cutout", INT, cutout, "0", GROUP, LAM_RANGE(0, 2048), .placeholder = "PIXELS",
        .help = "blank a random square of this side; 0 = off"),
    ROW("mixup", NUMBER, mixup, "0", GROUP, LAM_RANGE(0, 100), .placeholder = "ALPHA",
        .help = "mix pairs of images and labels, shares from Beta(ALPHA, ALPHA); 0 = off"),
#undef GROUP
#define GROUP "Model and method"
    ROW("label-smoothing", NUMBER, label_smoothing, "0", GROUP, LAM_RANGE(0, 0.999),
        .help = "share of each label that is spread over all classes"),
    ROW("dropout", NUMBER, dropout, "0", GROUP, LAM_RANGE(0, 0.99),
        .help = "vision transformers: share of values dropped"),
#undef GROUP
};

static lam_status check(const struct lam_config *config, const void *own) {
    const struct classify_config *c = own;
    if (c->resized_crop && c->crop_pad)
        return lam_fail(LAM_ERR_INVALID, "--resized-crop and --crop-pad cut in two ways; use one of them");
    if (config->overfit_batch && c->mixup > 0)
        return lam_fail(LAM_ERR_INVALID, "--overfit-batch takes images as they are; leave --mixup out");
    return LAM_OK;
}

/* ---- data ---- */

static lam_status open_set(const struct classify *c, const char *text, enum lam_split split,
                           struct lam_dataset **set) {
    struct lam_dataset_options asked = {.image_size = (int)c->own->image_size};
    LAM_TRY(task_open_set(c->config, asked, text, split, set));
    if ((*set)->classes > 0 && !(*set)->has_boxes) return LAM_OK;
    bool boxes = (*set)->has_boxes;
    lam_dataset_close(*set);
    *set = NULL;
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s: has %s", text,
                    boxes ? "boxes instead of class labels; detect-train learns from them"
                          : "no class labels to train on");
}

static lam_status check_same_classes(const struct classify *c, const struct lam_dataset *set,
                                     const char *text) {
    return task_classes_compare(text, set->class_names, set->classes, &c->classes);
}

/* Classes, channels, size and normalisation as the training set has them. */
static lam_status learn_from_set(struct classify *c, struct lam_dataset *set) {
    c->channels = set->channels;
    c->size = (int)c->own->image_size;
    if (!c->size) c->size = set->width == set->height ? set->width : 0;
    if (!c->size)
        return lam_fail(LAM_ERR_INVALID, "%s: images differ in size or are not square; give --image-size",
                        c->config->data);
    if (!(set->deviation[0] > 0)) LAM_TRY(lam_dataset_measure(set, 2000));
    memcpy(c->mean, set->mean, sizeof c->mean);
    memcpy(c->deviation, set->deviation, sizeof c->deviation);
    return task_classes_of(set, c->config->data, &c->classes);
}

/* ---- what a checkpoint keeps beside the weights ---- */

static lam_status save(const void *state, struct lam_checkpoint_writer *writer) {
    const struct classify *c = state;
    LAM_TRY(task_classes_save(&c->classes, writer));
    char input[256];
    snprintf(input, sizeof input, "%d %d %.9g %.9g %.9g %.9g %.9g %.9g", c->channels, c->size,
             (double)c->mean[0], (double)c->mean[1], (double)c->mean[2], (double)c->deviation[0],
             (double)c->deviation[1], (double)c->deviation[2]);
    return lam_checkpoint_text(writer, "input", input);
}

static lam_status learn_from_checkpoint(struct classify *c, const struct lam_checkpoint *from) {
    const char *text = lam_checkpoint_find_text(from, "input");
    LAM_TRY(task_classes_read(from, lam_task_classify.program, &c->classes));
    int got = text ? sscanf(text, "%d %d %f %f %f %f %f %f", &c->channels, &c->size, &c->mean[0], &c->mean[1],
                            &c->mean[2], &c->deviation[0], &c->deviation[1], &c->deviation[2])
                   : 0;
    bool good = got == 8 && (c->channels == 1 || c->channels == 3) && c->size > 0 && c->size <= 2048;
    for (int i = 0; good && i < c->channels; i++) good = c->deviation[i] > 0;
    if (good) return LAM_OK;
    return lam_fail(LAM_ERR_FORMAT, "%s: has no valid 'input'; it is not of classify-train",
                    lam_checkpoint_path(from));
}

/* ---- opening ---- */

/* A resumed run goes on with the classes that it has. */
static lam_status check_resumed_classes(const struct classify *c, const struct lam_checkpoint *from) {
    struct task_classes saved = {0};
    LAM_TRY(task_classes_read(from, lam_task_classify.program, &saved));
    lam_status status = task_classes_compare(c->config->data, c->classes.names, c->classes.count, &saved);
    task_classes_free(&saved);
    return status;
}

static lam_status open_for_training(struct classify *c, const struct lam_checkpoint *from) {
    LAM_TRY(open_set(c, c->config->data, LAM_SPLIT_TRAIN, &c->train));
    LAM_TRY(learn_from_set(c, c->train));
    if (from) LAM_TRY(check_resumed_classes(c, from));
    if (c->config->overfit_batch) {
        c->val = c->train;
        return LAM_OK;
    }
    const char *val = *c->config->val ? c->config->val : c->config->data;
    struct lam_dataset_options asked = {.image_size = (int)c->own->image_size};
    LAM_TRY(task_open_val(c->config, asked, c->train, &c->val));
    return check_same_classes(c, c->val, val);
}

static lam_status open_for_use(struct classify *c, const struct lam_checkpoint *from, bool data) {
    LAM_TRY(learn_from_checkpoint(c, from));
    if (!data) return LAM_OK;
    const char *text = *c->config->val ? c->config->val : c->config->data;
    LAM_TRY(open_set(c, text, LAM_SPLIT_VAL, &c->val));
    if (c->val->channels != c->channels)
        return lam_fail(LAM_ERR_INVALID, "%s: has images of %d channels, the network takes %d", text,
                        c->val->channels, c->channels);
    return check_same_classes(c, c->val, text);
}

/* ---- network ---- */

static lam_value build_output(void *task, struct lam_graph *graph, lam_value logits,
                              const lam_value *inputs) {
    const struct classify *c = task;
    return classify_output(graph, logits, inputs[1], (float)c->own->label_smoothing, true);
}

static lam_value build_local_head(void *task, struct lam_graph *graph, lam_value x, const lam_value *inputs,
                                  const lam_value *taps) {
    (void)taps;
    const struct classify *c = task;
    return build_output(task, graph, classify_local_logits(graph, x, c->classes.count), inputs);
}

/* What happens to images: here, and on the device. */
static void set_augment(struct classify *c) {
    c->plain = (struct lam_augment){.size = c->size, .channels = c->channels};
    memcpy(c->plain.mean, c->mean, sizeof c->mean);
    memcpy(c->plain.deviation, c->deviation, sizeof c->deviation);
    c->augment = c->plain;
    c->augment.pad = (int)c->own->crop_pad;
    c->augment.crop = c->own->crop_pad > 0;
    c->augment.pad_reflect = c->own->pad_mode == 0;
    c->augment.flip = c->own->flip;
    c->augment.resized_crop = c->own->resized_crop;
    c->augment.cutout = (int)c->own->cutout;
    c->device_augment = (struct lam_augment_attr){.pad = c->augment.pad,
                                                  .reflect = c->augment.pad_reflect,
                                                  .flip = c->augment.flip,
                                                  .cutout = c->augment.cutout};
    memcpy(c->device_augment.normalize.mean, c->mean, sizeof c->mean);
    memcpy(c->device_augment.normalize.deviation, c->deviation, sizeof c->deviation);
    const struct lam_dataset *set = c->train;
    c->on_device = set && !set->size_probed && set->width == c->size && set->height == c->size &&
                   !c->config->overfit_batch && !c->own->resized_crop && c->own->mixup == 0;
}

static lam_status make_network(struct classify *c) {
    struct lam_model_options model = {.image_size = c->size,
                                      .channels = c->channels,
                                      .classes = c->classes.count,
                                      .dropout = (float)c->own->dropout};
    LAM_TRY(lam_model_create(c->config->model, &model, &c->model));
    struct lam_field numbers = {"image", LAM_F32, LAM_SHAPE(c->channels, c->size, c->size)},
                     pixels = {"image", LAM_U8, numbers.shape};
    struct lam_field label = {"label", LAM_I32, LAM_SCALAR},
                     shares = {"label", LAM_F32, LAM_SHAPE(c->classes.count)};
    c->fields[0] = c->on_device || c->config->overfit_batch ? pixels : numbers;
    c->eval_fields[0] = pixels;
    c->fields[1] = c->own->mixup > 0 ? shares : label;
    c->eval_fields[1] = label;
    c->network = lam_model_network(c->model);
    c->network.fields = c->fields;
    c->network.field_count = 2;
    c->network.eval_fields = c->eval_fields;
    c->network.eval_field_count = 2;
    c->network.normalize = &c->device_augment.normalize;
    if (c->on_device) c->network.augment = &c->device_augment;
    c->network.task = c;
    c->network.build_output = build_output;
    c->network.small_head = true;
    c->network.build_local_head = build_local_head;
    return LAM_OK;
}

/* ---- life ---- */

static lam_status make_buffers(struct classify *c) {
    size_t batch = (size_t)c->config->batch, classes = (size_t)c->classes.count;
    c->threads = (int)c->config->loader_threads;
    c->scratch = calloc((size_t)c->threads, sizeof *c->scratch);
    c->logits = calloc(batch * classes, sizeof *c->logits);
    c->labels = calloc(batch, sizeof *c->labels);
    c->confusion = calloc(classes * classes, sizeof *c->confusion);
    c->shown_capacity = (int)c->config->samples_shown;
    c->shown = calloc((size_t)c->shown_capacity + 1, sizeof *c->shown);
    if (!c->scratch || !c->logits || !c->labels || !c->confusion || !c->shown) return lam_no_memory();
    size_t planes = (size_t)c->channels * (size_t)c->size * (size_t)c->size;
    for (int i = 0; c->own->mixup > 0 && i < c->threads; i++) {
        c->scratch[i].planes = malloc(planes * sizeof *c->scratch[i].planes);
        if (!c->scratch[i].planes) return lam_no_memory();
    }
    return LAM_OK;
}

static void close_state(void *state) {
    struct classify *c = state;
    lam_model_destroy(c->model);
    if (c->val != c->train) lam_dataset_close(c->val);
    lam_dataset_close(c->train);
    task_classes_free(&c->classes);
    for (int i = 0; c->scratch && i < c->threads; i++) {
        lam_sample_free(&c->scratch[i].sample);
        lam_sample_free(&c->scratch[i].partner);
        free(c->scratch[i].planes);
    }
    free(c->scratch);
    free(c->logits);
    free(c->labels);
    free(c->confusion);
    free(c->shown);
    free(c);
}

static lam_status open_state(const struct lam_config *config, const void *own, enum lam_use use,
                             const struct lam_checkpoint *from, void **state) {
    struct classify *c = calloc(1, sizeof *c);
    if (!c) return lam_no_memory();
    c->config = config;
    c->own = own;
    lam_status status =
        use == LAM_USE_TRAIN ? open_for_training(c, from) : open_for_use(c, from, use == LAM_USE_EVAL);
    if (status == LAM_OK) set_augment(c);
    if (status == LAM_OK) status = make_network(c);
    if (status == LAM_OK) status = make_buffers(c);
    if (status != LAM_OK) {
        close_state(c);
        return status;
    }
    *state = c;
    return LAM_OK;
}

static const struct lam_network *network(const void *state) {
    return &((const struct classify *)state)->network;
}

static const struct lam_field *eval_fields(const void *state, int *count) {
    *count = 2;
    return ((const struct classify *)state)->eval_fields;
}

const struct lam_task lam_task_classify = {
    .name = "classify",
    .program = "classify-train",
    .help = "image classification",
    .options = options,
    .option_count = (int)(sizeof options / sizeof *options),
    .config_size = sizeof(struct classify_config),
    .check = check,
    .open = open_state,
    .close = close_state,
    .save = save,
    .network = network,
    .samples = classify_samples,
    .data_hash = classify_data_hash,
    .eval_fields = eval_fields,
    .fill_train = classify_fill_train,
    .fill_eval = classify_fill_eval,
    .describe = classify_describe,
    .step_score_name = "accuracy",
    .step_score = classify_step_score,
    .eval_begin = classify_eval_begin,
    .eval_batch = classify_eval_batch,
    .eval_end = classify_eval_end,
    .show = classify_show,
    .report = classify_report,
    .load = classify_load,
    .predict = classify_predict,
};
