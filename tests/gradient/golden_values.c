/* See tests/golden/values.py for what the numbers are and why. Each expression rounds as numpy's does. */
#include "golden_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static const uint64_t seed = 20240229;

static struct lam_rng stream(const char *text, int number) {
    return lam_rng_make(seed, LAM_RNG_INIT, lam_hash_text(text), (uint64_t)number);
}

/* in [-1, 1) */
static float next(struct lam_rng *rng) {
    return 2.0f * lam_rng_uniform(rng) - 1.0f;
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

void golden_parameter(const struct lam_param *param, float *values) {
    struct lam_rng rng = stream(param->name, 0);
    bool weight = ends_with(param->name, "weight"), norm = weight && param->shape.rank == 1;
    float scale = ends_with(param->name, "bn2.weight") ? 0.25f : norm ? 1.0f : 0.125f;
    if (weight && !norm) {
        scale = (float)sqrt(6.0 * (double)param->shape.dim[0] / (double)param->count);
        if (!strncmp(param->name, "head.", 5)) scale *= 0.25f;
    }
    for (int64_t i = 0; i < param->count; i++) {
        float u = next(&rng);
        values[i] = scale * (norm ? 1.0f + 0.25f * u : u);
    }
}

/* Fills an image, or adds to one, with `side` x `side` squares of random values times `scale`. */
static void squares(struct lam_rng *rng, const struct golden_shape *shape, int side, float scale, bool add,
                    float *image) {
    float grid[64];
    int size = shape->image_size, square = size / side;
    for (int c = 0; c < shape->channels; c++) {
        for (int i = 0; i < side * side; i++) grid[i] = next(rng);
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++, image++)
                *image = (add ? *image : 0.0f) + scale * grid[y / square * side + x / square];
    }
}

void golden_batch(int number, const struct golden_shape *shape, float *images, int32_t *labels) {
    struct lam_rng choice = stream("labels", number), coarse = stream("coarse", number),
                   fine = stream("fine", number);
    int64_t pixels = (int64_t)shape->channels * shape->image_size * shape->image_size;
    for (int n = 0; n < shape->count; n++, images += pixels) {
        labels[n] = (int32_t)(lam_rng_u32(&choice) % (uint32_t)shape->classes);
        struct lam_rng pattern = stream("pattern", labels[n]);
        squares(&pattern, shape, 4, 1.0f, false, images);
        squares(&coarse, shape, 8, 0.5f, true, images);
        for (int64_t i = 0; i < pixels; i++) images[i] += 0.25f * next(&fine);
    }
}

void golden_project(const char *name, const float *values, int64_t count,
                    double projections[GOLDEN_PROJECTIONS]) {
    char text[256] = "signs ";
    strncat(text, name, sizeof text - strlen(text) - 1);
    struct lam_rng rng = stream(text, 0);
    memset(projections, 0, GOLDEN_PROJECTIONS * sizeof *projections);
    for (int64_t i = 0; i < count; i++) {
        uint32_t signs = lam_rng_u32(&rng);
        for (int k = 0; k < GOLDEN_PROJECTIONS; k++)
            projections[k] += signs >> k & 1 ? -(double)values[i] : (double)values[i];
    }
}
