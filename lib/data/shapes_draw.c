/* Drawing for the generated data sets. A shape is a signed distance: negative inside, in units of the
 * shape's radius; the coverage of a pixel follows from the distance of its centre, which gives smooth edges
 * for one evaluation a pixel. All randomness comes from the caller's stream. */
#include <math.h>
#include <stdlib.h>

#include "data/shapes.h"

static const float pi = 3.14159265f;

/* ---- shapes: distance from the edge at (u, v), inside the unit circle ---- */

static float circle(float u, float v) {
    return sqrtf(u * u + v * v) - 0.85f;
}

static float ring(float u, float v) {
    return fabsf(sqrtf(u * u + v * v) - 0.7f) - 0.2f;
}

static float square(float u, float v) {
    return fmaxf(fabsf(u), fabsf(v)) - 0.7f;
}

static float frame(float u, float v) {
    return fabsf(fmaxf(fabsf(u), fabsf(v)) - 0.58f) - 0.16f;
}

static float triangle(float u, float v) {
    return fmaxf(-v - 0.5f, fmaxf(0.8660254f * u + 0.5f * v, -0.8660254f * u + 0.5f * v) - 0.5f);
}

/* Five points: folded to a tenth of the circle, where the edge is one line from the outer to the inner
 * corner. */
static float star(float u, float v) {
    const float sector = 0.4f * pi, inner = 0.42f;
    float angle = atan2f(v, u), radius = sqrtf(u * u + v * v);
    angle = fabsf(angle - sector * roundf(angle / sector));
    float edge_x = inner * cosf(0.5f * sector) - 1, edge_y = inner * sinf(0.5f * sector);
    float length = sqrtf(edge_x * edge_x + edge_y * edge_y);
    return ((radius * cosf(angle) - 1) * edge_y - radius * sinf(angle) * edge_x) / length;
}

static float cross(float u, float v) {
    float wide = fabsf(u), high = fabsf(v);
    return fminf(fmaxf(wide - 0.9f, high - 0.28f), fmaxf(wide - 0.28f, high - 0.9f));
}

static float crescent(float u, float v) {
    float hollow = sqrtf((u - 0.45f) * (u - 0.45f) + v * v);
    return fmaxf(circle(u, v), 0.72f - hollow);
}

static float arrow(float u, float v) {
    float head = fmaxf(-u, 0.7071068f * (u + fabsf(v)) - 0.64f);
    float shaft = fmaxf(fabsf(u + 0.42f) - 0.48f, fabsf(v) - 0.2f);
    return fminf(head, shaft);
}

static float hourglass(float u, float v) {
    return fmaxf(fabsf(u) - 0.78f, 0.78f * fabsf(v) - 0.62f * fabsf(u));
}

const char *const lam_shape_names[LAM_SHAPE_KINDS] = {"circle", "ring",  "square",   "frame", "triangle",
                                                      "star",   "cross", "crescent", "arrow", "hourglass"};

static float (*const distances[LAM_SHAPE_KINDS])(float u, float v) = {
    circle, ring, square, frame, triangle, star, cross, crescent, arrow, hourglass};

/* ---- pixels ---- */

static uint8_t to_byte(float value) {
    float scaled = value * 255 + 0.5f;
    return (uint8_t)(scaled < 0 ? 0 : scaled > 255 ? 255 : scaled);
}

static void blend(uint8_t *pixel, const float colour[3], float cover) {
    for (int c = 0; c < 3; c++) pixel[c] = to_byte((float)pixel[c] / 255 * (1 - cover) + colour[c] * cover);
}

static float clamp01(float x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static uint8_t *pixel_at(struct lam_image *image, int x, int y) {
    return image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
}

/* How far the point (x, y) of the picture is from the shape's edge, in pixels; negative inside. */
static float distance_at(const struct lam_shape_place *place, float cosine, float sine, float x, float y) {
    float dx = (x - place->x) / place->radius, dy = (y - place->y) / place->radius;
    return distances[place->kind](cosine * dx + sine * dy, cosine * dy - sine * dx) * place->radius;
}

void lam_shape_draw(struct lam_image *image, const struct lam_shape_place *place) {
    float cosine = cosf(place->angle), sine = sinf(place->angle), reach = place->radius + 1;
    int x0 = (int)fmaxf(place->x - reach, 0), x1 = (int)fminf(place->x + reach + 1, (float)image->width);
    int y0 = (int)fmaxf(place->y - reach, 0), y1 = (int)fminf(place->y + reach + 1, (float)image->height);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            float distance = distance_at(place, cosine, sine, (float)x + 0.5f, (float)y + 0.5f);
            float cover = clamp01(0.5f - distance) * place->opacity;
            if (cover > 0) blend(pixel_at(image, x, y), place->colour, cover);
        }
}

/* ---- boxes ---- */

enum { FINENESS = 4 }; /* points a pixel */

/* Is any point of the line of cells `at` (a row, or a column) inside? Cells count from the corner of the square around the shape. */
static bool line_hits(const struct lam_shape_place *place, const int first[2], int cells, int at, bool row) {
    float cosine = cosf(place->angle), sine = sinf(place->angle);
    for (int k = 0; k < cells; k++) {
        float x = ((float)(first[0] + (row ? k : at)) + 0.5f) / FINENESS;
        float y = ((float)(first[1] + (row ? at : k)) + 0.5f) / FINENESS;
        if (distance_at(place, cosine, sine, x, y) <= 0) return true;
    }
    return false;
}

void lam_shape_extent(const struct lam_shape_place *place, float corners[4]) {
    int first[2] = {(int)floorf((place->x - place->radius) * FINENESS),
                    (int)floorf((place->y - place->radius) * FINENESS)};
    int cells = (int)ceilf(2 * place->radius * FINENESS) + 1;
    for (int axis = 0; axis < 2; axis++) {
        int low = 0, high = cells;
        while (low < cells && !line_hits(place, first, cells, low, axis == 1)) low++;
        while (high > low && !line_hits(place, first, cells, high - 1, axis == 1)) high--;
        corners[axis] = (float)(first[axis] + low) / FINENESS;
        corners[2 + axis] = (float)(first[axis] + high) / FINENESS;
    }
}

/* ---- scene ---- */

static float between(struct lam_rng *rng, float low, float high) {
    return low + (high - low) * lam_rng_uniform(rng);
}

static void random_colour(struct lam_rng *rng, float colour[3]) {
    for (int c = 0; c < 3; c++) colour[c] = lam_rng_uniform(rng);
}

/* Rec. 601 luma of a colour. */
static float luma(const float colour[3]) {
    return 0.299f * colour[0] + 0.587f * colour[1] + 0.114f * colour[2];
}

void lam_scene_contrast(struct lam_rng *rng, const float other[3], float colour[3]) {
    float best = -1;
    for (int attempt = 0; attempt < 16 && best < 0.35f; attempt++) {
        float candidate[3];
        random_colour(rng, candidate);
        float brighter = luma(candidate) - luma(other);
        if (brighter <= best) continue;
        best = brighter;
        for (int c = 0; c < 3; c++) colour[c] = candidate[c];
    }
}

/* A plane wave over the picture. Along a row its value is found by turning a vector by one column's angle:
 * two products instead of a sine for every pixel. */
struct wave {
    float x, y, phase;        /* radians a column, a row, and at the corner */
    float turn_cos, turn_sin; /* of one column */
    float value, quadrature;  /* sine and cosine at the current pixel */
};

static struct wave random_wave(struct lam_rng *rng, float shortest, float longest) {
    float angle = between(rng, 0, 2 * pi), frequency = 2 * pi / between(rng, shortest, longest);
    struct wave wave = {.x = frequency * cosf(angle), .y = frequency * sinf(angle)};
    wave.phase = between(rng, 0, 2 * pi);
    wave.turn_cos = cosf(wave.x);
    wave.turn_sin = sinf(wave.x);
    return wave;
}

static void begin_row(struct wave *wave, int y) {
    wave->value = sinf(wave->phase + wave->y * (float)y);
    wave->quadrature = cosf(wave->phase + wave->y * (float)y);
}

/* The value here, in -1..1; goes on to the next column. */
static float next_value(struct wave *wave) {
    float value = wave->value;
    wave->value = value * wave->turn_cos + wave->quadrature * wave->turn_sin;
    wave->quadrature = wave->quadrature * wave->turn_cos - value * wave->turn_sin;
    return value;
}

void lam_scene_background(struct lam_image *image, struct lam_rng *rng, float colour[3]) {
    float from[3], step[3], side = (float)image->width;
    for (int c = 0; c < 3; c++) from[c] = between(rng, 0, 0.6f);
    for (int c = 0; c < 3; c++) step[c] = clamp01(from[c] + between(rng, -0.25f, 0.25f)) - from[c];
    for (int c = 0; c < 3; c++) colour[c] = from[c] + step[c] / 2;
    struct wave gradient = random_wave(rng, 1.5f * side, 4 * side);
    struct wave first = random_wave(rng, side / 8, side / 2), second = random_wave(rng, side / 8, side / 2);
    float strength = between(rng, 0, 0.1f);
    bool hard = lam_rng_below(rng, 3) == 0; /* stripes and checks rather than ripples */
    uint8_t *pixel = image->pixels;
    for (int y = 0; y < image->height; y++) {
        begin_row(&gradient, y);
        begin_row(&first, y);
        begin_row(&second, y);
        for (int x = 0; x < image->width; x++, pixel += 3) {
            float mix = 0.5f + 0.5f * next_value(&gradient);
            float texture = next_value(&first) * next_value(&second);
            if (hard) texture = texture < 0 ? -0.6f : 0.6f;
            for (int c = 0; c < 3; c++) pixel[c] = to_byte(from[c] + step[c] * mix + strength * texture);
        }
    }
}

static void draw_line(struct lam_image *image, struct lam_rng *rng, float unit) {
    float side = (float)image->width, angle = between(rng, 0, pi), half = between(rng, 0.1f, 0.35f) * side;
    float x = between(rng, 0, side), y = between(rng, 0, side);
    float width = between(rng, 0.4f, 0.9f) * unit, cosine = cosf(angle), sine = sinf(angle), colour[3];
    random_colour(rng, colour);
    int x0 = (int)fmaxf(x - half - 1, 0), x1 = (int)fminf(x + half + 2, (float)image->width);
    int y0 = (int)fmaxf(y - half - 1, 0), y1 = (int)fminf(y + half + 2, (float)image->height);
    for (int py = y0; py < y1; py++)
        for (int px = x0; px < x1; px++) {
            float dx = (float)px + 0.5f - x, dy = (float)py + 0.5f - y;
            float along = fabsf(cosine * dx + sine * dy) - half,
                  across = fabsf(cosine * dy - sine * dx) - width;
            float cover = clamp01(0.5f - fmaxf(along, across));
            if (cover > 0) blend(pixel_at(image, px, py), colour, cover);
        }
}

void lam_scene_clutter(struct lam_image *image, struct lam_rng *rng, float unit) {
    float side = (float)image->width;
    int lines = (int)lam_rng_below(rng, 4), specks = (int)lam_rng_below(rng, 5);
    for (int i = 0; i < lines; i++) draw_line(image, rng, unit);
    for (int i = 0; i < specks; i++) {
        struct lam_shape_place speck = {.opacity = 1};
        speck.x = between(rng, 0, side);
        speck.y = between(rng, 0, side);
        speck.radius = between(rng, 0.8f, 1.8f) * unit;
        random_colour(rng, speck.colour);
        lam_shape_draw(image, &speck);
    }
}

/* Uniform, four values from each random word: the shape of noise does not matter here, its cost does. */
void lam_scene_noise(struct lam_image *image, struct lam_rng *rng) {
    size_t count = (size_t)image->width * (size_t)image->height * 3;
    int strength = 6 + (int)lam_rng_below(rng, 50); /* deviation strength / 256 * 74: 2 to 16 levels */
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++, bits >>= 8) {
        if (i % 4 == 0) bits = lam_rng_u32(rng);
        int noise = (2 * (int)(bits & 255) - 255) * strength / 512;
        int value = image->pixels[i] + noise;
        image->pixels[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}
