/* Whole images through a finished network: in one piece where that is small enough, else in overlapping tiles, of which the network
 * gives the same pixels. Prediction: gray stays gray, alpha is enlarged by bicubic and kept. */
#include <stdlib.h>
#include <string.h>

#include "tasks/sr/internal.h"

enum { USUAL_TILE = 256, LEAST_TAKEN = 16 };

/* What one tile overlaps the next by. */
static int overlap(const struct sr *sr, int side) {
    int radius = sr_net_radius(sr->net);
    return sr_net_sees_all(sr->net) && radius > side / 4 ? side / 4 : radius;
}

static int least_side(const struct sr *sr) {
    return 2 * (sr_net_sees_all(sr->net) ? 0 : sr_net_radius(sr->net)) + LEAST_TAKEN;
}

static lam_status ask_tile(const struct sr *sr, const struct lam_asker *asker, const struct sr_tile *tile,
                           const struct sr_planes *low, float *input, float *answer,
                           struct sr_planes *result) {
    size_t pixels = (size_t)tile->from.width * (size_t)tile->from.height;
    sr_tile_cut(tile, low, input);
    LAM_TRY(asker->ask(asker->context, LAM_SHAPE(3, tile->from.height, tile->from.width), input, "image",
                       answer, 3 * pixels * (size_t)(sr->scale * sr->scale)));
    sr_tile_paste(tile, answer, result);
    return LAM_OK;
}

/* low: three planes as the network sees them; result as it gives them. */
static lam_status ask_tiles(const struct sr *sr, const struct lam_asker *asker, const struct sr_planes *low,
                            int side, struct sr_planes *result) {
    struct sr_tiling tiling;
    LAM_TRY(sr_tiling_make(low->width, low->height, side, overlap(sr, side), sr->scale, &tiling));
    LAM_TRY(sr_planes_alloc(result, 3, sr->scale * low->width, sr->scale * low->height));
    size_t each = 3 * (size_t)tiling.tile_width * (size_t)tiling.tile_height;
    float *input = malloc(each * sizeof *input);
    float *answer = malloc(each * (size_t)(sr->scale * sr->scale) * sizeof *answer);
    lam_status status = input && answer ? LAM_OK : lam_no_memory();
    for (int i = 0; i < tiling.columns * tiling.rows && status == LAM_OK; i++) {
        struct sr_tile tile = sr_tiling_at(&tiling, i);
        status = ask_tile(sr, asker, &tile, low, input, answer, result);
    }
    free(input);
    free(answer);
    return status;
}

/* In smaller tiles where the device's limit asks for that. */
static lam_status ask_image(const struct sr *sr, const struct lam_asker *asker, const struct sr_planes *low,
                            struct sr_planes *result) {
    int side = sr->own->tile ? (int)sr->own->tile : USUAL_TILE, least = least_side(sr);
    if (!sr->own->tile && side < least) side = least;
    for (;;) {
        lam_status status = ask_tiles(sr, asker, low, side, result);
        if (status != LAM_ERR_MEMORY_LIMIT || sr->own->tile || side / 2 < least) return status;
        side /= 2;
    }
}

/* Lim et al. 2017, section 3.3: the mean over the eight symmetries. */
static lam_status ask_ensemble(const struct sr *sr, const struct lam_asker *asker,
                               const struct sr_planes *low, struct sr_planes *result) {
    struct sr_planes turned = {0}, large = {0};
    lam_status status = sr_planes_alloc(result, 3, sr->scale * low->width, sr->scale * low->height);
    if (status == LAM_OK)
        memset(result->data, 0, 3 * (size_t)result->width * (size_t)result->height * sizeof *result->data);
    for (int s = 0; s < SR_SYMMETRIES && status == LAM_OK; s++) {
        status = sr_symmetry_apply(s, low, &turned);
        if (status == LAM_OK) status = ask_image(sr, asker, &turned, &large);
        if (status == LAM_OK) status = sr_symmetry_add_inverse(s, 1.0f / SR_SYMMETRIES, &large, result);
    }
    sr_planes_free(&turned);
    sr_planes_free(&large);
    return status;
}

/* Gray in all three. */
static lam_status three_planes(const struct lam_image *image, struct sr_planes *planes) {
    struct sr_planes own = {0};
    LAM_TRY(sr_planes_from_image(image, 1, &own));
    size_t pixels = (size_t)own.width * (size_t)own.height;
    lam_status status = sr_planes_alloc(planes, 3, own.width, own.height);
    for (size_t c = 0; c < 3 && status == LAM_OK; c++)
        memcpy(planes->data + c * pixels, own.data + (own.channels == 3 ? c : 0) * pixels,
               pixels * sizeof *own.data);
    sr_planes_free(&own);
    return status;
}

lam_status sr_upscale(const struct sr *sr, const struct lam_asker *asker, const struct lam_image *low,
                      struct sr_planes *result) {
    struct sr_planes planes = {0};
    lam_status status = three_planes(low, &planes);
    if (status == LAM_OK) sr_to_network(sr, planes.data, (size_t)planes.width * (size_t)planes.height);
    if (status == LAM_OK)
        status = sr->own->self_ensemble ? ask_ensemble(sr, asker, &planes, result)
                                        : ask_image(sr, asker, &planes, result);
    if (status == LAM_OK) sr_from_network(sr, result->data, (size_t)result->width * (size_t)result->height);
    sr_planes_free(&planes);
    return status;
}

/* ---- prediction ---- */

static lam_status colours_to_image(const struct lam_image *low, const struct sr_planes *result,
                                   struct lam_image *picture) {
    if (low->channels >= 3) return sr_planes_to_image(result, 255, picture);
    struct sr_planes gray = {0};
    lam_status status = sr_luma(result, true, &gray);
    if (status == LAM_OK) status = sr_planes_to_image(&gray, 255, picture);
    sr_planes_free(&gray);
    return status;
}

static lam_status keep_alpha(const struct lam_image *low, struct lam_image *picture) {
    struct lam_image alpha = {0}, large = {0};
    lam_status status = sr_alpha_of(low, &alpha);
    if (status == LAM_OK && alpha.pixels)
        status = sr_bicubic(&alpha, picture->width, picture->height, SR_ROUND_ONCE, &large);
    if (status == LAM_OK && alpha.pixels) status = sr_alpha_join(picture, &large);
    lam_image_free(&alpha);
    lam_image_free(&large);
    return status;
}

lam_status sr_predict_image(void *state, const struct lam_asker *asker, const char *path, FILE *table,
                            json_t **json, struct lam_image *picture) {
    const struct sr *sr = state;
    struct lam_image low = {0};
    struct sr_planes result = {0};
    lam_status status = lam_image_load(path, LAM_IMAGE_AS_IS, &low);
    if (status == LAM_OK) status = sr_upscale(sr, asker, &low, &result);
    if (status == LAM_OK) status = colours_to_image(&low, &result, picture);
    if (status == LAM_OK) status = keep_alpha(&low, picture);
    sr_planes_free(&result);
    if (status == LAM_OK) {
        fprintf(table, "%s: %d x %d to %d x %d\n", path, low.width, low.height, picture->width,
                picture->height);
        *json = json_pack("{s:s, s:i, s:[i,i], s:[i,i]}", "image", path, "scale", sr->scale, "from",
                          low.width, low.height, "to", picture->width, picture->height);
        if (!*json) status = lam_fail(LAM_ERR_FORMAT, "%s: the name is not UTF-8", path);
    }
    if (status != LAM_OK) lam_image_free(picture);
    lam_image_free(&low);
    return status;
}
