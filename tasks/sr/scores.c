/* Evaluation: tiles put together to images, and what they are worth beside bicubic upscaling; image by image, and as means. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "tasks/common/shown.h"
#include "tasks/sr/internal.h"

static const double EQUAL = 100; /* dB that stand for an infinite PSNR */

int64_t sr_images(const void *state) {
    return ((const struct sr *)state)->image_count;
}

lam_status sr_eval_begin(void *state) {
    struct sr *sr = state;
    sr->done = 0;
    sr->shown_count = 0;
    return LAM_OK;
}

/* ---- one image ---- */

/* A shown image begins a share of the set. */
static struct sr_quality bounded(struct sr_quality quality) {
    if (quality.psnr > EQUAL) quality.psnr = EQUAL;
    return quality;
}

static lam_status measure_bicubic(const struct sr *sr, const struct lam_sample *sample,
                                  const struct sr_planes *truth, struct sr_image *image) {
    const struct sr_measure measure = {(enum sr_channel)sr->own->channel, sr->border};
    struct lam_image low = {0};
    struct sr_planes small = {0}, large = {0};
    lam_status status = sr_low_of(sr, sample, &low);
    if (status == LAM_OK) status = sr_planes_from_image(&low, 255, &small);
    if (status == LAM_OK) status = sr_bicubic_planes(&small, truth->width, truth->height, &large);
    if (status == LAM_OK) status = sr_quality(&measure, &large, truth, &image->bicubic);
    image->bicubic = bounded(image->bicubic);
    image->measured = status == LAM_OK;
    lam_image_free(&low);
    sr_planes_free(&small);
    sr_planes_free(&large);
    return status;
}

/* What is compared is what would be saved: bytes. */
static lam_status compare(struct sr *sr, int64_t index, const struct lam_sample *sample,
                          const struct lam_image *ours) {
    const struct sr_measure measure = {(enum sr_channel)sr->own->channel, sr->border};
    struct sr_image *image = &sr->images[index];
    struct lam_image high = {0};
    struct sr_planes truth = {0}, result = {0};
    lam_status status = sr_crop(&sample->image, sr->scale, &high);
    if (status == LAM_OK) status = sr_planes_from_image(&high, 255, &truth);
    if (status == LAM_OK && !image->measured) status = measure_bicubic(sr, sample, &truth, image);
    if (status == LAM_OK) status = sr_planes_from_image(ours, 255, &result);
    if (status == LAM_OK) status = sr_quality(&measure, &result, &truth, &image->ours);
    image->ours = bounded(image->ours);
    lam_image_free(&high);
    sr_planes_free(&truth);
    sr_planes_free(&result);
    return status;
}

/* result: three planes of 0..255, of the image's size. */
static lam_status finish_image(struct sr *sr, int64_t index, const struct sr_planes *result) {
    struct sr_thread *thread = &sr->threads[sr->thread_count];
    const struct lam_sample *sample;
    struct lam_image ours = {0};
    lam_status status = lam_dataset_borrow(sr->val, index, &thread->sample, &sample);
    if (status == LAM_OK) status = sr_planes_to_image(result, 255, &ours);
    if (status == LAM_OK) status = compare(sr, index, sample, &ours);
    if (status == LAM_OK && task_is_shown(index, sr->image_count, sr->shown_count, sr->shown_capacity)) {
        struct sr_shown *shown = &sr->shown[sr->shown_count++];
        lam_image_free(&shown->ours);
        *shown = (struct sr_shown){index, ours};
        ours = (struct lam_image){0};
    }
    lam_image_free(&ours);
    sr->done++;
    return sr_name_sample(sr->val, index, status);
}

/* ---- tiles ---- */

/* Cuts what was mirrored off, right and below. */
static lam_status crop(struct sr_planes *planes, int width, int height) {
    if (planes->width == width && planes->height == height) return LAM_OK;
    float *to = planes->data;
    for (int c = 0; c < planes->channels; c++)
        for (int y = 0; y < height; y++, to += width)
            memmove(to,
                    planes->data + ((size_t)c * (size_t)planes->height + (size_t)y) * (size_t)planes->width,
                    (size_t)width * sizeof *to);
    planes->width = width;
    planes->height = height;
    return LAM_OK;
}

static lam_status add_tile(struct sr *sr, int64_t index, const float *answer) {
    int64_t at = sr_image_of_tile(sr, index);
    const struct sr_image *image = &sr->images[at];
    const struct sr_tiling *tiling = &image->tiling;
    int number = (int)(index - image->first), last = tiling->columns * tiling->rows - 1;
    if (number == 0)
        LAM_TRY(sr_planes_alloc(&sr->result, 3, sr->scale * tiling->width, sr->scale * tiling->height));
    struct sr_tile tile = sr_tiling_at(tiling, number);
    sr_tile_paste(&tile, answer, &sr->result);
    if (number < last) return LAM_OK;
    sr_from_network(sr, sr->result.data, (size_t)sr->result.width * (size_t)sr->result.height);
    LAM_TRY(crop(&sr->result, sr->scale * image->width, sr->scale * image->height));
    return finish_image(sr, at, &sr->result);
}

lam_status sr_eval_batch(void *state, const struct lam_block *block, const struct lam_batch *batch) {
    struct sr *sr = state;
    int side = sr->scale * sr->tile;
    size_t each = 3 * (size_t)side * (size_t)side, rows = (size_t)sr->network.eval_batch;
    if (!sr->answer) sr->answer = malloc(rows * each * sizeof *sr->answer);
    if (!sr->answer) return lam_no_memory();
    LAM_TRY(lam_program_read(lam_block_program(block, LAM_BLOCK_EVAL), "image", sr->answer,
                             rows * each * sizeof *sr->answer));
    for (int row = 0; row < batch->count; row++)
        LAM_TRY(add_tile(sr, batch->indices[row], sr->answer + (size_t)row * each));
    return LAM_OK;
}

/* Of a finished network, each image as a whole. */
lam_status sr_eval_image(void *state, const struct lam_asker *asker, int64_t index) {
    struct sr *sr = state;
    struct sr_thread *thread = &sr->threads[sr->thread_count];
    const struct lam_sample *sample;
    struct lam_image low = {0};
    struct sr_planes result = {0};
    LAM_TRY(lam_dataset_borrow(sr->val, index, &thread->sample, &sample));
    lam_status status = sr_low_of(sr, sample, &low);
    if (status == LAM_OK) status = sr_upscale(sr, asker, &low, &result);
    lam_image_free(&low);
    if (status == LAM_OK) status = finish_image(sr, index, &result);
    sr_planes_free(&result);
    return status;
}

/* ---- means ---- */

struct means {
    struct sr_quality bicubic, ours;
    int64_t with_ssim; /* images that are large enough for it */
};

static struct means means_of(const struct sr *sr) {
    struct means m = {{0, 0}, {0, 0}, 0};
    for (int64_t i = 0; i < sr->image_count; i++) {
        const struct sr_image *image = &sr->images[i];
        m.bicubic.psnr += image->bicubic.psnr / (double)sr->image_count;
        m.ours.psnr += image->ours.psnr / (double)sr->image_count;
        if (isnan(image->ours.ssim) || isnan(image->bicubic.ssim)) continue;
        m.bicubic.ssim += image->bicubic.ssim;
        m.ours.ssim += image->ours.ssim;
        m.with_ssim++;
    }
    double count = m.with_ssim ? (double)m.with_ssim : 1;
    m.bicubic.ssim /= count;
    m.ours.ssim /= count;
    return m;
}

lam_status sr_eval_end(void *state, struct lam_score *scores, int *count) {
    const struct sr *sr = state;
    if (sr->done != sr->image_count)
        return lam_fail(LAM_ERR_INTERNAL, "%lld of %lld images were evaluated", (long long)sr->done,
                        (long long)sr->image_count);
    struct means m = means_of(sr);
    scores[0] = (struct lam_score){"psnr", m.ours.psnr};
    scores[1] = (struct lam_score){"ssim", m.ours.ssim};
    *count = 2;
    return LAM_OK;
}

/* ---- report ---- */

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *quality_json(const struct sr_quality *ours, const struct sr_quality *bicubic) {
    return json_pack("{s:o, s:o, s:o, s:o}", "psnr", number(ours->psnr), "ssim", number(ours->ssim),
                     "bicubic_psnr", number(bicubic->psnr), "bicubic_ssim", number(bicubic->ssim));
}

static json_t *image_json(const struct sr *sr, int64_t index) {
    const struct sr_image *image = &sr->images[index];
    char what[512];
    json_t *json = quality_json(&image->ours, &image->bicubic);
    lam_dataset_describe(sr->val, index, what, sizeof what);
    json_t *name = json_string(what);
    json_object_set_new(json, "image", name ? name : json_string("(a name that is not UTF-8)"));
    return json;
}

lam_status sr_show(void *state, struct lam_image *mosaic, json_t **list) {
    struct sr *sr = state;
    json_t *array = json_array();
    if (!array) return lam_no_memory();
    for (int i = 0; i < sr->shown_count; i++)
        json_array_append_new(array, image_json(sr, sr->shown[i].index));
    lam_status status = sr_draw_shown(sr, mosaic);
    if (status != LAM_OK)
        json_decref(array);
    else
        *list = array;
    return status;
}

static const char *short_name(const struct sr *sr, int64_t index, char *text, size_t size) {
    lam_dataset_describe(sr->val, index, text, size);
    const char *slash = strrchr(text, '/');
    return slash ? slash + 1 : text;
}

static void print_table(const struct sr *sr, const struct means *m, FILE *table) {
    char text[512];
    fprintf(table, "x%d, %s, %d pixels of border left out\n", sr->scale,
            sr->own->channel == SR_CHANNEL_Y ? "Y" : "RGB", sr->border);
    fprintf(table, "%-24s %8s %8s   %8s %8s\n", "image", "PSNR", "SSIM", "bicubic", "SSIM");
    for (int64_t i = 0; i < sr->image_count; i++) {
        const struct sr_image *image = &sr->images[i];
        fprintf(table, "%-24.24s %8.2f %8.4f   %8.2f %8.4f\n", short_name(sr, i, text, sizeof text),
                image->ours.psnr, image->ours.ssim, image->bicubic.psnr, image->bicubic.ssim);
    }
    fprintf(table, "%-24s %8.2f %8.4f   %8.2f %8.4f\n", "mean", m->ours.psnr, m->ours.ssim, m->bicubic.psnr,
            m->bicubic.ssim);
}

/* A quote in a name is doubled, as CSV has it. */
static void write_name(FILE *file, const char *name) {
    fputc('"', file);
    for (; *name; name++) {
        if (*name == '"') fputc('"', file);
        fputc(*name, file);
    }
    fputc('"', file);
}

static lam_status write_csv(const struct sr *sr, const char *folder) {
    char *text = NULL, what[512];
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file) return lam_no_memory();
    fprintf(file, "image,psnr,ssim,bicubic_psnr,bicubic_ssim\n");
    for (int64_t i = 0; i < sr->image_count; i++) {
        const struct sr_image *image = &sr->images[i];
        write_name(file, short_name(sr, i, what, sizeof what));
        fprintf(file, ",%.6f,%.6f,%.6f,%.6f\n", image->ours.psnr, image->ours.ssim, image->bicubic.psnr,
                image->bicubic.ssim);
    }
    fclose(file);
    char *path = lam_path_join(folder, "quality.csv");
    lam_status status = path && text ? lam_file_write(path, text, size) : lam_no_memory();
    free(path);
    free(text);
    return status;
}

lam_status sr_report(void *state, FILE *table, json_t **json, const char *folder) {
    const struct sr *sr = state;
    struct means m = means_of(sr);
    print_table(sr, &m, table);
    if (folder) LAM_TRY(write_csv(sr, folder));
    json_t *images = json_array();
    for (int64_t i = 0; i < sr->image_count; i++) json_array_append_new(images, image_json(sr, i));
    *json = json_pack("{s:i, s:s, s:i, s:o, s:o}", "scale", sr->scale, "channel",
                      sr->own->channel == SR_CHANNEL_Y ? "y" : "rgb", "border", sr->border, "mean",
                      quality_json(&m.ours, &m.bicubic), "images", images);
    return *json ? LAM_OK : lam_no_memory();
}
