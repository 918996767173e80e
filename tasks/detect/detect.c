/* The detection task: its options, what it opens, and its row of functions. */
#include "tasks/detect/detect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "tasks/detect/internal.h"

#define ROW(...) LAM_OPTION_ROW(struct detect_config, __VA_ARGS__)

enum { SMALLEST_SIDE = 32, LARGEST_SIDE = 4096, MOST_MEASURED = 200, MOST_FITTED = 200000 };

static const char *const class_losses[] = {"focal", "quality", NULL};
static const char *const box_losses[] = {"giou", "smooth-l1", NULL};

static const struct lam_option options[] = {
#define GROUP "Images"
    ROW("image-size", TEXT, image_size, "", GROUP, .placeholder = "WIDTHxHEIGHT",
        .help = "what the network sees, one number for a square; images keep their shape in it; else "
                "320x320, or the "
                "set's own size where that is smaller"),
    ROW("short-side", INT, short_side, "0", GROUP, LAM_RANGE(0, 4096), .placeholder = "PIXELS",
        .help = "resize images so that their shorter side has so many pixels, less where --image-size cannot "
                "hold "
                "that; 0 = as large as fits. Without --image-size that is a square of 5/3 of it"),
    ROW("stretch", BOOL, stretch, "no", GROUP, .help = "stretch images to --image-size instead"),
    ROW("flip", NUMBER, flip, "0.5", GROUP, LAM_RANGE(0, 1), .help = "share of images that are mirrored"),
    ROW("flip-vertical", NUMBER, flip_vertical, "0", GROUP, LAM_RANGE(0, 1),
        .help = "share of images that are turned upside down, for views from above or through a microscope"),
    ROW("scale-min", NUMBER, scale_min, "0.8", GROUP, LAM_RANGE(0.05, 20),
        .help = "training: images are resized to between this"),
    ROW("scale-max", NUMBER, scale_max, "1.25", GROUP, LAM_RANGE(0.05, 20),
        .help = "and this times the size that fits, and cut or padded"),
    ROW("hue", NUMBER, hue, "0.015", GROUP, LAM_RANGE(0, 0.5), .help = "training: greatest turn of hues"),
    ROW("saturation", NUMBER, saturation, "0.4", GROUP, LAM_RANGE(0, 1),
        .help = "training: greatest change of saturation, as a share"),
    ROW("value", NUMBER, value, "0.3", GROUP, LAM_RANGE(0, 1),
        .help = "training: greatest change of brightness, as a share"),
    ROW("mosaic", NUMBER, mosaic, "0", GROUP, LAM_RANGE(0, 1),
        .help = "share of training images that are put together from four"),
#undef GROUP
#define GROUP "Model and method"
    ROW("anchors", TEXT, anchors, "fitted", GROUP, .placeholder = "fitted|retinanet|SIZES",
        .help =
            "sizes in pixels: fitted to the training boxes, 4 strides times 1, 1.26, 1.59, or a list such "
            "as 16,20,25/32,40,51/64,81,102 (one part a level)"),
    ROW("anchor-sizes", INT, anchor_sizes, "3", GROUP, LAM_RANGE(1, 6), .help = "sizes of anchors in a cell"),
    ROW("head-width", INT, head_width, "0", GROUP, LAM_RANGE(0, 4096),
        .help = "channels of pyramid and subnets; 0 = the model's own"),
    ROW("head-depth", INT, head_depth, "0", GROUP, LAM_RANGE(0, 16),
        .help = "3x3 convolutions of a subnet; 0 = the model's own"),
    ROW("local-depth", INT, local_depth, "0", GROUP, LAM_RANGE(0, 16),
        .help = "the same of auxiliary networks; 0 = half"),
    ROW("class-loss", CHOICE, class_loss, "focal", GROUP, .choices = class_losses,
        .help = "of all anchors that are not ignored; quality: a positive's target is how well its box fits, "
                "not 1"),
    ROW("box-loss", CHOICE, box_loss, "giou", GROUP, .choices = box_losses, .help = "of positive anchors"),
    ROW("box-weight", NUMBER, box_weight, "1", GROUP, LAM_RANGE(0, 1000), .help = "of the box loss"),
    ROW("focal-alpha", NUMBER, focal_alpha, "0.25", GROUP, LAM_RANGE(0, 1),
        .help = "focal: weight of positives"),
    ROW("focal-gamma", NUMBER, focal_gamma, "2", GROUP, LAM_RANGE(0, 10),
        .help = "focal: how little easy anchors count"),
    ROW("positive-iou", NUMBER, positive, "0.5", GROUP, LAM_RANGE(0.01, 1),
        .help = "an anchor that overlaps a box so much is positive"),
    ROW("negative-iou", NUMBER, negative, "0.4", GROUP, LAM_RANGE(0.01, 1),
        .help = "one that overlaps all boxes less is background; between the two it is ignored"),
    ROW("force-best", BOOL, force_best, "yes", GROUP,
        .help = "the anchor that overlaps a box best is positive however little that is"),
#undef GROUP
#define GROUP "Evaluation"
    ROW("conf", NUMBER, conf, "0.05", GROUP, LAM_RANGE(0, 1), .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE,
        .help = "least score of an object"),
    ROW("show-conf", NUMBER, show_conf, "0.3", GROUP, LAM_RANGE(0, 1),
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE,
        .help = "least score of an object in pictures, and in what lamina predict prints"),
    ROW("iou", NUMBER, iou, "0.5", GROUP, LAM_RANGE(0.01, 1), .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE,
        .help = "of two objects of a class that overlap more, the lesser is dropped"),
    ROW("max-det", INT, max_det, "100", GROUP, LAM_RANGE(1, 10000),
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE, .help = "objects in an image"),
#undef GROUP
};

static lam_status check(const struct lam_config *config, const void *own) {
    const struct detect_config *c = own;
    if (c->scale_min > c->scale_max)
        return lam_fail(LAM_ERR_INVALID, "--scale-min %g is above --scale-max %g", c->scale_min,
                        c->scale_max);
    if (c->short_side > 0 && c->stretch)
        return lam_fail(LAM_ERR_INVALID,
                        "--short-side keeps the shape of images, --stretch does not: leave one out");
    if (c->short_side > 0 && c->short_side < SMALLEST_SIDE)
        return lam_fail(LAM_ERR_INVALID, "--short-side %lld: at least %d, or 0 for as large as fits",
                        (long long)c->short_side, SMALLEST_SIDE);
    if (c->negative > c->positive)
        return lam_fail(LAM_ERR_INVALID, "--negative-iou %g is above --positive-iou %g", c->negative,
                        c->positive);
    if (c->class_loss == DETECT_QUALITY && c->box_loss != DETECT_GIOU)
        return lam_fail(LAM_ERR_INVALID,
                        "--class-loss quality measures boxes by their corners: it needs --box-loss giou");
    int levels;
    return *config->model ? retinanet_levels(config->model, &levels) : LAM_OK;
}

/* ---- data ---- */

struct detect_fit detect_fit_of(const struct detect *d) {
    return (struct detect_fit){.width = d->width,
                               .height = d->height,
                               .short_side = (int)d->own->short_side,
                               .stretch = d->own->stretch};
}

static const struct lam_dataset_options asked = {.content = LAM_CONTENT_BOXES};

static lam_status expect_boxes(struct lam_dataset **set, const char *text) {
    if ((*set)->has_boxes && (*set)->classes > 0) return LAM_OK;
    lam_dataset_close(*set);
    *set = NULL;
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s: has no boxes to learn from; voc, coco and shapes have", text);
}

static lam_status open_set(const struct detect *d, const char *text, enum lam_split split,
                           struct lam_dataset **set) {
    LAM_TRY(task_open_set(d->config, asked, text, split, set));
    LAM_TRY(expect_boxes(set, text));
    const struct lam_box_counts *counts = &(*set)->counts;
    int64_t dropped = counts->degenerate + counts->outside + counts->strays;
    if (dropped)
        lam_log(LAM_LOG_NOTICE, "%s: %lld of %lld %s boxes are empty or outside their images, and left out",
                text, (long long)dropped, (long long)(dropped + counts->kept),
                split == LAM_SPLIT_TRAIN ? "training" : "validation");
    return LAM_OK;
}

static lam_status parse_size(struct detect *d) {
    const char *text = d->own->image_size;
    int used = 0, got = sscanf(text, "%dx%d%n", &d->width, &d->height, &used);
    if (got == 1 && sscanf(text, "%d%n", &d->width, &used) == 1) d->height = d->width;
    bool good = got >= 1 && used == (int)strlen(text) && d->width >= SMALLEST_SIDE &&
                d->width <= LARGEST_SIDE && d->height >= SMALLEST_SIDE && d->height <= LARGEST_SIDE;
    if (good) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID, "--image-size '%s': give WIDTHxHEIGHT or one number, each in %d..%d",
                    text, SMALLEST_SIDE, LARGEST_SIDE);
}

static lam_status choose_size(struct detect *d, const struct lam_dataset *set) {
    enum { USUAL = 320 };
    if (*d->own->image_size) return parse_size(d);
    if (d->own->short_side > 0) { /* as 1333 for 800, whole strides of 32 */
        int side = (int)(d->own->short_side * 5 / 3 + 31) / 32 * 32;
        d->width = d->height = side < LARGEST_SIDE ? side : LARGEST_SIDE;
        return LAM_OK;
    }
    d->width = set->width >= SMALLEST_SIDE && set->width < USUAL ? set->width : USUAL;
    d->height = set->height >= SMALLEST_SIDE && set->height < USUAL ? set->height : USUAL;
    return LAM_OK;
}

static lam_status copy_categories(struct detect *d, const struct lam_dataset *set) {
    if (!set->category_ids) return LAM_OK;
    size_t bytes = (size_t)set->classes * sizeof *d->category_ids;
    d->category_ids = malloc(bytes);
    if (!d->category_ids) return lam_no_memory();
    memcpy(d->category_ids, set->category_ids, bytes);
    return LAM_OK;
}

/* ---- anchors ---- */

struct boxes {
    struct lam_box *items;
    int64_t count, room;
};

static lam_status add_boxes(const struct detect *d, int64_t index, struct lam_sample *sample,
                            struct boxes *boxes) {
    int width, height;
    LAM_TRY(lam_dataset_read_boxes(d->train, index, sample, &width, &height));
    struct detect_fit fit = detect_fit_of(d);
    struct detect_view view = detect_view_fit(&fit, width, height);
    for (int i = 0; i < sample->box_count; i++) {
        if (boxes->count == boxes->room) {
            int64_t room = boxes->room ? 2 * boxes->room : 1024;
            struct lam_box *items = realloc(boxes->items, (size_t)room * sizeof *items);
            if (!items) return lam_no_memory();
            boxes->items = items;
            boxes->room = room;
        }
        struct lam_box box = sample->boxes[i];
        float corners[4] = {box.x0, box.y0, box.x1, box.y1};
        detect_view_box(&view, corners);
        box.x0 = corners[0], box.y0 = corners[1], box.x1 = corners[2], box.y1 = corners[3];
        boxes->items[boxes->count++] = box;
    }
    return LAM_OK;
}

/* One size a level is fitted, so that each level has objects of its own; the others stand around it, a part of an octave apart.
 * Fitted freely, large objects would also be sought on the finest level, whose many anchors drown those of small ones. */
static lam_status fit_sizes(struct detect *d, const struct boxes *boxes) {
    struct detect_anchors *anchors = &d->anchors, one = *anchors;
    LAM_TRY(detect_anchors_set_shapes(&one, 1, one.ratio_count, one.ratios));
    LAM_TRY(detect_anchors_fit(&one, boxes->items, boxes->count));
    for (int l = 0; l < anchors->level_count; l++)
        for (int i = 0; i < anchors->size_count; i++) {
            float octave = ((float)i - 0.5f * (float)(anchors->size_count - 1)) / (float)anchors->size_count;
            anchors->levels[l].sizes[i] = one.levels[l].sizes[0] * exp2f(octave);
        }
    return LAM_OK;
}

static lam_status fit_anchors(struct detect *d, const struct boxes *boxes) {
    struct detect_anchor_quality before, after;
    LAM_TRY(detect_anchors_measure(&d->anchors, boxes->items, boxes->count, &before));
    LAM_TRY(fit_sizes(d, boxes));
    LAM_TRY(detect_anchors_measure(&d->anchors, boxes->items, boxes->count, &after));
    char text[512];
    lam_log(LAM_LOG_NOTICE,
            "anchors fitted to %lld boxes: %s; best IoU %.2f, %.0f %% of boxes above .5 (RetinaNet's own: "
            "%.2f, %.0f %%)",
            (long long)after.boxes, detect_anchors_text(&d->anchors, text, sizeof text), after.mean_iou,
            100 * after.recall, before.mean_iou, 100 * before.recall);
    return LAM_OK;
}

static lam_status fit_to_training_set(struct detect *d) {
    struct boxes boxes = {0};
    struct lam_sample sample = {0};
    lam_status status = LAM_OK;
    for (int64_t i = 0; i < d->train->count && status == LAM_OK && boxes.count < MOST_FITTED; i++)
        status = add_boxes(d, i, &sample, &boxes);
    if (status == LAM_OK && boxes.count == 0)
        status =
            lam_fail(LAM_ERR_INVALID, "%s: no image has a box; --anchors fitted needs some", d->config->data);
    if (status == LAM_OK) status = fit_anchors(d, &boxes);
    lam_sample_free(&sample);
    free(boxes.items);
    return status;
}

/* from: the checkpoint in use, which has the sizes. */
static lam_status make_anchors(struct detect *d, const struct lam_checkpoint *from) {
    const char *how = d->own->anchors, *kept = from ? lam_checkpoint_find_text(from, "anchors") : NULL;
    int levels;
    LAM_TRY(retinanet_levels(d->config->model, &levels));
    LAM_TRY(detect_anchors_init(&d->anchors, d->width, d->height, RETINANET_FIRST_STRIDE, levels));
    const float ratios[] = {0.5f, 1, 2};
    LAM_TRY(detect_anchors_set_shapes(&d->anchors, (int)d->own->anchor_sizes, 3, ratios));
    if (from && !kept)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no 'anchors'; it is not of detect-train",
                        lam_checkpoint_path(from));
    if (kept) {
        lam_status status = detect_anchors_set_sizes(&d->anchors, kept);
        if (status != LAM_OK) return lam_fail_in(status, lam_checkpoint_path(from));
    } else if (strcmp(how, "fitted") == 0) {
        LAM_TRY(fit_to_training_set(d));
    } else if (strcmp(how, "retinanet") != 0) {
        lam_status status = detect_anchors_set_sizes(&d->anchors, how);
        if (status != LAM_OK) return lam_fail_in(status, "--anchors");
    }
    d->corners = malloc((size_t)d->anchors.count * sizeof *d->corners);
    if (!d->corners) return lam_no_memory();
    detect_anchors_write(&d->anchors, d->corners);
    return LAM_OK;
}

/* ---- what a checkpoint keeps beside the weights ---- */

static lam_status save(const void *state, struct lam_checkpoint_writer *writer) {
    const struct detect *d = state;
    char text[1024];
    LAM_TRY(task_classes_save(&d->classes, writer));
    snprintf(text, sizeof text, "%d %d %.9g %.9g %.9g %.9g %.9g %.9g", d->width, d->height,
             (double)d->normalize.mean[0], (double)d->normalize.mean[1], (double)d->normalize.mean[2],
             (double)d->normalize.deviation[0], (double)d->normalize.deviation[1],
             (double)d->normalize.deviation[2]);
    LAM_TRY(lam_checkpoint_text(writer, "input", text));
    LAM_TRY(lam_checkpoint_text(writer, "anchors", detect_anchors_text(&d->anchors, text, sizeof text)));
    if (!d->category_ids) return LAM_OK;
    json_t *ids = json_array();
    for (int i = 0; i < d->classes.count; i++) json_array_append_new(ids, json_integer(d->category_ids[i]));
    char *list = json_dumps(ids, JSON_COMPACT);
    json_decref(ids);
    if (!list) return lam_no_memory();
    lam_status status = lam_checkpoint_text(writer, "category_ids", list);
    free(list);
    return status;
}

static lam_status read_categories(struct detect *d, const struct lam_checkpoint *from) {
    const char *text = lam_checkpoint_find_text(from, "category_ids");
    json_t *ids = text ? json_loads(text, 0, NULL) : NULL;
    lam_status status = LAM_OK;
    if (text && json_array_size(ids) != (size_t)d->classes.count)
        status = lam_fail(LAM_ERR_FORMAT, "%s: 'category_ids' does not fit its classes",
                          lam_checkpoint_path(from));
    if (text && status == LAM_OK) {
        d->category_ids = calloc((size_t)d->classes.count, sizeof *d->category_ids);
        if (!d->category_ids) status = lam_no_memory();
    }
    for (int i = 0; d->category_ids && i < d->classes.count; i++)
        d->category_ids[i] = (int)json_integer_value(json_array_get(ids, (size_t)i));
    json_decref(ids);
    return status;
}

static lam_status learn_from_checkpoint(struct detect *d, const struct lam_checkpoint *from) {
    const char *text = lam_checkpoint_find_text(from, "input");
    LAM_TRY(task_classes_read(from, lam_task_detect.program, &d->classes));
    int got = text ? sscanf(text, "%d %d %f %f %f %f %f %f", &d->width, &d->height, &d->normalize.mean[0],
                            &d->normalize.mean[1], &d->normalize.mean[2], &d->normalize.deviation[0],
                            &d->normalize.deviation[1], &d->normalize.deviation[2])
                   : 0;
    bool good = got == 8 && d->width >= SMALLEST_SIDE && d->width <= LARGEST_SIDE &&
                d->height >= SMALLEST_SIDE && d->height <= LARGEST_SIDE;
    for (int i = 0; good && i < 3; i++)
        good = d->normalize.deviation[i] > 0 && isfinite(d->normalize.mean[i]);
    if (!good)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no valid 'input'; it is not of detect-train",
                        lam_checkpoint_path(from));
    return read_categories(d, from);
}

/* ---- opening ---- */

static lam_status learn_from_set(struct detect *d, struct lam_dataset *set) {
    LAM_TRY(choose_size(d, set));
    if (!(set->deviation[0] > 0)) LAM_TRY(lam_dataset_measure(set, MOST_MEASURED));
    for (int i = 0; i < 3; i++) { /* gray sets have one channel */
        int channel = set->channels == 1 ? 0 : i;
        d->normalize.mean[i] = set->mean[channel];
        d->normalize.deviation[i] = set->deviation[channel];
    }
    LAM_TRY(task_classes_of(set, d->config->data, &d->classes));
    return copy_categories(d, set);
}

/* A resumed run goes on with the classes that it has. */
static lam_status check_resumed_classes(const struct detect *d, const struct lam_checkpoint *from) {
    struct task_classes saved = {0};
    LAM_TRY(task_classes_read(from, lam_task_detect.program, &saved));
    lam_status status = task_classes_compare(d->config->data, d->classes.names, d->classes.count, &saved);
    task_classes_free(&saved);
    return status;
}

static lam_status open_for_training(struct detect *d, const struct lam_checkpoint *from) {
    LAM_TRY(open_set(d, d->config->data, LAM_SPLIT_TRAIN, &d->train));
    LAM_TRY(learn_from_set(d, d->train));
    if (from) LAM_TRY(check_resumed_classes(d, from));
    if (d->config->overfit_batch) {
        d->val = d->train;
        return LAM_OK;
    }
    const char *val = *d->config->val ? d->config->val : d->config->data;
    LAM_TRY(task_open_val(d->config, asked, d->train, &d->val));
    LAM_TRY(expect_boxes(&d->val, val));
    return task_classes_compare(val, d->val->class_names, d->val->classes, &d->classes);
}

static lam_status open_for_use(struct detect *d, const struct lam_checkpoint *from, bool data) {
    LAM_TRY(learn_from_checkpoint(d, from));
    if (!data) return LAM_OK;
    const char *text = *d->config->val ? d->config->val : d->config->data;
    LAM_TRY(open_set(d, text, LAM_SPLIT_VAL, &d->val));
    return task_classes_compare(text, d->val->class_names, d->val->classes, &d->classes);
}

static lam_status set_augment(struct detect *d) {
    const struct detect_config *own = d->own;
    d->plain = (struct detect_augment){.fit = detect_fit_of(d)};
    for (int c = 0; c < 3; c++)
        d->plain.padding[c] = (uint8_t)lroundf(255 * fminf(fmaxf(d->normalize.mean[c], 0), 1));
    d->augment = d->plain;
    d->augment.flip = (float)own->flip;
    d->augment.flip_vertical = (float)own->flip_vertical;
    d->augment.scale_min = (float)own->scale_min;
    d->augment.scale_max = (float)own->scale_max;
    d->augment.hue = (float)own->hue;
    d->augment.saturation = (float)own->saturation;
    d->augment.value = (float)own->value;
    d->augment.mosaic = (float)own->mosaic;
    return detect_augment_check(&d->augment);
}

static lam_status make_buffers(struct detect *d) {
    size_t rows = (size_t)d->config->batch * (size_t)d->anchors.count;
    d->thread_count = (int)d->config->loader_threads;
    d->threads = calloc((size_t)d->thread_count, sizeof *d->threads);
    d->logits = calloc(rows * (size_t)d->classes.count, sizeof *d->logits);
    d->deltas = calloc(rows * 4, sizeof *d->deltas);
    d->shown_capacity = (int)d->config->samples_shown;
    d->shown = calloc((size_t)d->shown_capacity + 1, sizeof *d->shown);
    return d->threads && d->logits && d->deltas && d->shown ? LAM_OK : lam_no_memory();
}

static void close_state(void *state) {
    struct detect *d = state;
    retinanet_destroy(d->net);
    if (d->val != d->train) lam_dataset_close(d->val);
    lam_dataset_close(d->train);
    task_classes_free(&d->classes);
    for (int i = 0; d->threads && i < d->thread_count; i++) {
        lam_sample_free(&d->threads[i].sample);
        detect_scratch_free(&d->threads[i].scratch);
    }
    for (int i = 0; d->shown && i < d->shown_capacity; i++) detect_list_free(&d->shown[i].found);
    lam_sample_free(&d->truth);
    detect_list_free(&d->found);
    detect_scores_free(&d->scores);
    detect_confusion_destroy(d->confusion);
    detect_ap_destroy(d->ap);
    free(d->category_ids);
    free(d->corners);
    free(d->threads);
    free(d->logits);
    free(d->deltas);
    free(d->shown);
    free(d);
}

static lam_status open_state(const struct lam_config *config, const void *own, enum lam_use use,
                             const struct lam_checkpoint *from, void **state) {
    struct detect *d = calloc(1, sizeof *d);
    if (!d) return lam_no_memory();
    d->config = config;
    d->own = own;
    lam_status status =
        use == LAM_USE_TRAIN ? open_for_training(d, from) : open_for_use(d, from, use == LAM_USE_EVAL);
    if (status == LAM_OK) status = make_anchors(d, from);
    if (status == LAM_OK) status = set_augment(d);
    if (status == LAM_OK) status = detect_make_network(d);
    if (status == LAM_OK) status = make_buffers(d);
    if (status != LAM_OK) {
        close_state(d);
        return status;
    }
    *state = d;
    return LAM_OK;
}

static const struct lam_network *network(const void *state) {
    return &((const struct detect *)state)->network;
}

static const struct lam_field *eval_fields(const void *state, int *count) {
    *count = 1;
    return ((const struct detect *)state)->fields;
}

const struct lam_task lam_task_detect = {
    .name = "detect",
    .program = "detect-train",
    .help = "object detection",
    .models = retinanet_names,
    .options = options,
    .option_count = (int)(sizeof options / sizeof *options),
    .config_size = sizeof(struct detect_config),
    .check = check,
    .open = open_state,
    .close = close_state,
    .save = save,
    .network = network,
    .samples = detect_samples,
    .data_hash = detect_data_hash,
    .eval_fields = eval_fields,
    .fill_train = detect_fill_train,
    .fill_eval = detect_fill_eval,
    .describe = detect_describe,
    .draw_batch = detect_draw_batch,
    .eval_begin = detect_eval_begin,
    .eval_batch = detect_eval_batch,
    .eval_end = detect_eval_end,
    .show = detect_show,
    .report = detect_report,
    .load = detect_load,
    .predict = detect_predict,
};
