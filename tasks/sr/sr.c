/* The super-resolution task: its options, what it opens, and its row of functions. */
#include "tasks/sr/sr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "tasks/common/classes.h"
#include "tasks/sr/internal.h"

#define ROW(...) LAM_OPTION_ROW(struct sr_config, __VA_ARGS__)

enum { LARGEST_TILE = 128, LEAST_TAKEN = 16, OVERFIT_IMAGES = 4, SHAPES_SIDE = 96, MOST_SHOWN = 8 };

static const char *const scales[] = {"2", "3", "4", NULL};
static const char *const losses[] = {"l1", "charbonnier", NULL};
static const char *const channel_names[] = {"y", "rgb", NULL};

static const struct lam_option options[] = {
#define GROUP "Images"
    ROW("scale", CHOICE, scale, "2", GROUP, .choices = scales, .flags = LAM_OPTION_USE,
        .help = "how many times as wide and high"),
    ROW("patch", INT, patch, "48", GROUP, LAM_RANGE(4, 512),
        .help = "side of training patches, in low-resolution pixels"),
    ROW("patches-per-epoch", INT, patches, "16000", GROUP, LAM_RANGE(1, 1e9),
        .help = "what an epoch is, whatever the set's size"),
    ROW("flip", BOOL, flip, "yes", GROUP, .help = "mirror half of the patches"),
    ROW("rotate", BOOL, rotate, "yes", GROUP, .help = "turn patches by quarters"),
    ROW("shrink", NUMBER, shrink, "1", GROUP, LAM_RANGE(0.1, 1),
        .help = "patches are of images resized by a random factor between this and 1"),
    ROW("pairs", BOOL, pairs, "yes", GROUP,
        .help = "take low-resolution images from the folders that have them (LR_bicubic/X2); else they are "
                "made by bicubic"),
    ROW("cache", TEXT, cache, "1G", GROUP, .placeholder = "BYTES",
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_MACHINE | LAM_OPTION_USE,
        .help = "decoded images that are kept in memory, for each of the two sets"),
    ROW("image-range", NUMBER, image_range, "1", GROUP, LAM_RANGE(1e-3, 1e4),
        .help = "largest pixel as the network sees it, before the mean is taken off"),
#undef GROUP
#define GROUP "Model and method"
    ROW("channels", INT, channels, "0", GROUP, LAM_RANGE(0, 4096),
        .help = "of the network; 0 = the model's own"),
    ROW("body-units", INT, units, "0", GROUP, LAM_RANGE(0, 120),
        .help = "residual blocks (edsr) or groups (rcan); 0 = the model's own"),
    ROW("group-blocks", INT, blocks, "0", GROUP, LAM_RANGE(0, 120),
        .help = "rcan: blocks in a group; 0 = the model's own"),
    ROW("global-skip", BOOL, global_skip, "yes", GROUP,
        .help = "add the input, each pixel repeated, to the output"),
    ROW("local-width", INT, local_width, "0", GROUP, LAM_RANGE(0, 4096),
        .help = "channels that auxiliary networks upscale; 0 = half of the network's"),
    ROW("loss", CHOICE, loss, "l1", GROUP, .choices = losses, .help = "of each pixel"),
    ROW("charbonnier-eps", NUMBER, charbonnier_eps, "0.001", GROUP, LAM_RANGE(1e-9, 1),
        .help = "of pixels in 0..1"),
#undef GROUP
#define GROUP "Evaluation"
    ROW("channel", CHOICE, channel, "y", GROUP, .choices = channel_names,
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE, .help = "that PSNR and SSIM are of"),
    ROW("border", INT, border, "-1", GROUP, LAM_RANGE(-1, 4096),
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE,
        .help = "pixels that these leave out on each side; -1 = the scale"),
    ROW("tile", INT, tile, "0", GROUP, LAM_RANGE(0, 8192), .flags = LAM_OPTION_USE,
        .help = "side of the pieces that images are cut into, in low-resolution pixels; 0 = in training as "
                "memory allows, else 256 or less"),
    ROW("self-ensemble", BOOL, self_ensemble, "no", GROUP, .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_USE,
        .help = "eval and predict: the mean over the eight symmetries"),
#undef GROUP
};

static lam_status check(const struct lam_config *config, const void *own) {
    const struct sr_config *c = own;
    uint64_t bytes;
    lam_status status = lam_bytes_parse(c->cache, &bytes);
    if (status != LAM_OK) return lam_fail_in(status, "--cache");
    return *config->model ? sr_net_find(config->model) : LAM_OK;
}

/* ---- data ---- */

static lam_status dataset_options(const struct sr *sr, struct lam_dataset_options *asked) {
    *asked = (struct lam_dataset_options){.content = LAM_CONTENT_IMAGES,
                                          .image_size = SHAPES_SIDE,
                                          .train_count = 1000,
                                          .val_count = 20,
                                          .scale = sr->scale,
                                          .pairs = sr->own->pairs};
    return lam_bytes_parse(sr->own->cache, &asked->cache_bytes);
}

static lam_status open_for_training(struct sr *sr) {
    struct lam_dataset_options asked;
    LAM_TRY(dataset_options(sr, &asked));
    LAM_TRY(task_open_set(sr->config, asked, sr->config->data, LAM_SPLIT_TRAIN, &sr->train));
    if (sr->own->shrink < 1 && sr->train->has_pairs)
        return lam_fail(LAM_ERR_INVALID,
                        "--shrink: %s has low-resolution images, which stay as they are; add --no-pairs",
                        sr->config->data);
    if (sr->train->count > UINT32_MAX)
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s: has too many images", sr->config->data);
    if (!sr->config->overfit_batch) return task_open_val(sr->config, asked, sr->train, &sr->val);
    sr->val = sr->train;
    return LAM_OK;
}

static lam_status open_for_evaluation(struct sr *sr) {
    struct lam_dataset_options asked;
    LAM_TRY(dataset_options(sr, &asked));
    const char *text = *sr->config->val ? sr->config->val : sr->config->data;
    return task_open_set(sr->config, asked, text, LAM_SPLIT_VAL, &sr->val);
}

/* A network is for one scale. */
static lam_status check_scale(const struct sr *sr, const struct lam_checkpoint *from) {
    const char *text = lam_checkpoint_find_text(from, "scale");
    char *end = NULL;
    long scale = text ? strtol(text, &end, 10) : 0;
    if (!text || *end || scale < 2 || scale > 4)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no valid 'scale'; it is not of sr-train",
                        lam_checkpoint_path(from));
    if (scale == sr->scale) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID,
                    "%s: is for --scale %ld, not %d; train another one, or leave --scale out",
                    lam_checkpoint_path(from), scale, sr->scale);
}

static lam_status save(const void *state, struct lam_checkpoint_writer *writer) {
    const struct sr *sr = state;
    char text[16];
    snprintf(text, sizeof text, "%d", sr->scale);
    return lam_checkpoint_text(writer, "scale", text);
}

/* ---- network and tiles ---- */

static lam_status create_net(struct sr *sr) {
    struct sr_net_options net = {.name = sr->config->model,
                                 .scale = sr->scale,
                                 .global_skip = sr->own->global_skip,
                                 .channels = (int)sr->own->channels,
                                 .units = (int)sr->own->units,
                                 .blocks = (int)sr->own->blocks,
                                 .local_width = (int)sr->own->local_width};
    return sr_net_create(&net, &sr->net);
}

/* Shortest side of all images. */
static int least_side(const struct sr *sr) {
    int least = INT32_MAX;
    for (int64_t i = 0; i < sr->image_count; i++) {
        least = sr->images[i].width < least ? sr->images[i].width : least;
        least = sr->images[i].height < least ? sr->images[i].height : least;
    }
    return least;
}

/* As many pixels as a training batch has: evaluation keeps little of each, though more than training where patches are small, since
 * a smaller tile would be overlap for the most part. Larger than that overlap in any case; and no larger than an image where that
 * can be, since tiles of these are exact. */
static lam_status choose_tile(struct sr *sr) {
    int overlap = sr_net_sees_all(sr->net) ? 0 : 2 * sr_net_radius(sr->net), least = overlap + LEAST_TAKEN;
    sr->tile = (int)sr->own->tile;
    if (sr->tile && sr->tile <= overlap)
        return lam_fail(LAM_ERR_INVALID, "--tile %d: %s needs more than %d, each pixel sees %d to each side",
                        sr->tile, sr->config->model, overlap, overlap / 2);
    if (sr->tile) return LAM_OK;
    double side = sqrt((double)sr->config->batch) * (double)sr->own->patch;
    sr->tile = side > LARGEST_TILE ? LARGEST_TILE : (int)side;
    if (sr->tile < least) sr->tile = least;
    if (sr->image_count && least_side(sr) < sr->tile && least_side(sr) >= least) sr->tile = least_side(sr);
    return LAM_OK;
}

static lam_status make_buffers(struct sr *sr) {
    sr->thread_count = (int)sr->config->loader_threads;
    sr->threads = calloc((size_t)sr->thread_count + 1, sizeof *sr->threads);
    sr->shown_capacity = sr->config->samples_shown < MOST_SHOWN ? (int)sr->config->samples_shown : MOST_SHOWN;
    sr->shown = calloc((size_t)sr->shown_capacity + 1, sizeof *sr->shown);
    return sr->threads && sr->shown ? LAM_OK : lam_no_memory();
}

static lam_status prepare(struct sr *sr, enum lam_use use) {
    sr->patches = (struct sr_patches){.scale = sr->scale,
                                      .size = (int)sr->own->patch,
                                      .flip = sr->own->flip && !sr->config->overfit_batch,
                                      .rotate = sr->own->rotate && !sr->config->overfit_batch,
                                      .shrink = sr->config->overfit_batch ? 1 : sr->own->shrink};
    LAM_TRY(make_buffers(sr));
    LAM_TRY(create_net(sr));
    if (sr->val) LAM_TRY(sr_measure_images(sr));
    if (sr->val && sr->val == sr->train && sr->image_count > OVERFIT_IMAGES) sr->image_count = OVERFIT_IMAGES;
    LAM_TRY(choose_tile(sr));
    if (use == LAM_USE_TRAIN) LAM_TRY(sr_cut_tiles(sr));
    return sr_make_network(sr);
}

/* ---- opening ---- */

static void close_state(void *state) {
    struct sr *sr = state;
    sr_net_destroy(sr->net);
    if (sr->val != sr->train) lam_dataset_close(sr->val);
    lam_dataset_close(sr->train);
    for (int i = 0; sr->threads && i <= sr->thread_count; i++) {
        lam_sample_free(&sr->threads[i].sample);
        lam_image_free(&sr->threads[i].low);
    }
    for (int i = 0; sr->shown && i < sr->shown_capacity; i++) lam_image_free(&sr->shown[i].ours);
    sr_planes_free(&sr->result);
    free(sr->threads);
    free(sr->shown);
    free(sr->images);
    free(sr->answer);
    free(sr);
}

static lam_status open_state(const struct lam_config *config, const void *own, enum lam_use use,
                             const struct lam_checkpoint *from, void **state) {
    struct sr *sr = calloc(1, sizeof *sr);
    if (!sr) return lam_no_memory();
    sr->config = config;
    sr->own = own;
    sr->scale = sr->own->scale + 2;
    sr->border = sr->own->border < 0 ? sr->scale : (int)sr->own->border;
    lam_status status = from ? check_scale(sr, from) : LAM_OK;
    if (status == LAM_OK && use == LAM_USE_TRAIN) status = open_for_training(sr);
    if (status == LAM_OK && use == LAM_USE_EVAL) status = open_for_evaluation(sr);
    if (status == LAM_OK) status = prepare(sr, use);
    if (status != LAM_OK) {
        close_state(sr);
        return status;
    }
    *state = sr;
    return LAM_OK;
}

static const struct lam_network *network(const void *state) {
    return &((const struct sr *)state)->network;
}

static const struct lam_field *eval_fields(const void *state, int *count) {
    *count = 1;
    return &((const struct sr *)state)->eval_field;
}

const struct lam_task lam_task_sr = {
    .name = "sr",
    .program = "sr-train",
    .help = "super-resolution",
    .models = sr_net_names,
    .options = options,
    .option_count = (int)(sizeof options / sizeof *options),
    .config_size = sizeof(struct sr_config),
    .check = check,
    .open = open_state,
    .close = close_state,
    .save = save,
    .network = network,
    .samples = sr_samples,
    .data_hash = sr_data_hash,
    .eval_fields = eval_fields,
    .fill_train = sr_fill_train,
    .fill_eval = sr_fill_eval,
    .describe = sr_describe,
    .draw_batch = sr_draw_batch,
    .eval_begin = sr_eval_begin,
    .eval_batch = sr_eval_batch,
    .eval_end = sr_eval_end,
    .show = sr_show,
    .report = sr_report,
    .predict_image = sr_predict_image,
    .eval_image = sr_eval_image,
    .images = sr_images,
};
