#include "tasks/detect/curves.h"

#include <math.h>
#include <stdlib.h>

#include "base/files.h"
#include "train/draw.h"

/* The plot's place in the picture, and that of the legend right of it. */
enum { LEFT = 40, TOP = 28, SIDE = 400, BOTTOM = 34, LEGEND = LEFT + SIDE + 16, LEGEND_WIDTH = 200 };
enum { WIDTH = LEGEND + LEGEND_WIDTH, HEIGHT = TOP + SIDE + BOTTOM, ROW = 14 };
enum { MOST_COLOURS = 20 }; /* classes with a colour of their own; their rows are as high as the plot */

static const uint32_t grid_colour = 0xE0E0E0, pale = 0xB8C4D0;
static const uint32_t colours[MOST_COLOURS] = {
    0x1F77B4, 0xFF7F0E, 0x2CA02C, 0xD62728, 0x9467BD, 0x8C564B, 0xE377C2, 0x7F7F7F, 0xBCBD22, 0x17BECF,
    0x0B3C5D, 0xA85000, 0x145214, 0x7A1010, 0x4B2E6F, 0x4A2C26, 0xA03080, 0x404040, 0x6E6F00, 0x0A6A76};

static float x_at(double recall) {
    return (float)(LEFT + recall * SIDE);
}

static float y_at(double precision) {
    return (float)(TOP + (1 - precision) * SIDE);
}

static void draw_axes(struct lam_image *image) {
    for (int i = 0; i <= 10; i++) {
        int x = LEFT + i * SIDE / 10, y = TOP + SIDE - i * SIDE / 10;
        lam_draw_fill(image, x, TOP, 1, SIDE, grid_colour);
        lam_draw_fill(image, LEFT, y, SIDE, 1, grid_colour);
        if (i % 2) continue;
        char text[8];
        snprintf(text, sizeof text, "%.1f", i / 10.0);
        lam_draw_text(image, x - 9, TOP + SIDE + 5, 4 * LAM_FONT_WIDTH, text, LAM_BLACK);
        lam_draw_text(image, LEFT - 24, y - 4, 4 * LAM_FONT_WIDTH, text, LAM_BLACK);
    }
    lam_draw_frame(image, LEFT, TOP, SIDE + 1, SIDE + 1, 1, LAM_BLACK);
    lam_draw_text(image, 4, 8, SIDE, "precision at IoU 0.50", LAM_BLACK);
    lam_draw_text(image, LEFT + SIDE / 2 - 18, HEIGHT - 14, SIDE, "recall", LAM_BLACK);
}

/* Steps down where `best` falls; what is less than a pixel further on is passed over. */
static void draw_curve(struct lam_image *image, const struct detect_curve *curve, float thickness,
                       uint32_t colour) {
    if (curve->count == 0) return;
    float x = x_at(0), y = y_at(curve->points[0].best);
    for (int64_t k = 0; k < curve->count; k++) {
        const struct detect_curve_point *p = &curve->points[k];
        float next_x = x_at(p->recall), next_y = y_at(p->best);
        if (k + 1 < curve->count && next_x - x < 1 && next_y - y < 1) continue;
        lam_draw_line(image, x, y, x, next_y, thickness, colour);
        lam_draw_line(image, x, next_y, next_x, next_y, thickness, colour);
        x = next_x;
        y = next_y;
    }
    lam_draw_line(image, x, y, x, y_at(0), thickness, colour);
}

static void draw_mean(struct lam_image *image, const double mean[DETECT_RECALLS]) {
    for (int i = 1; i < DETECT_RECALLS; i++)
        lam_draw_line(image, x_at((i - 1) / 100.0), y_at(mean[i - 1]), x_at(i / 100.0), y_at(mean[i]), 3,
                      LAM_BLACK);
}

static void draw_legend(struct lam_image *image, int row, const char *name, double ap50, float thickness,
                        uint32_t colour) {
    float y = (float)(TOP + row * ROW) + 4.5f;
    char text[64];
    lam_draw_line(image, LEGEND, y, LEGEND + 18, y, thickness, colour);
    if (ap50 < 0)
        snprintf(text, sizeof text, "%.19s", name);
    else
        snprintf(text, sizeof text, "%.19s %.3f", name, ap50);
    lam_draw_text(image, LEGEND + 26, TOP + row * ROW, LEGEND_WIDTH - 30, text, LAM_BLACK);
}

lam_status detect_curves_draw(const struct detect_curves *curves, char *const *names,
                              struct lam_image *image) {
    int shown = 0, row = 0;
    for (int i = 0; i < curves->classes; i++) shown += curves->of_class[i].boxes > 0;
    bool few = shown <= MOST_COLOURS;
    LAM_TRY(lam_image_alloc(image, WIDTH, HEIGHT, 3));
    lam_draw_fill(image, 0, 0, WIDTH, HEIGHT, LAM_WHITE);
    draw_axes(image);
    if (shown == 0) return LAM_OK;
    lam_draw_text(image, LEGEND + 26, 8, LEGEND_WIDTH - 30, "class, AP50", LAM_BLACK);
    draw_legend(image, row++, "all classes", curves->ap50, 3, LAM_BLACK);
    if (!few) draw_legend(image, row++, "each class", -1, 1, pale);
    for (int i = 0; i < curves->classes; i++) {
        const struct detect_curve *curve = &curves->of_class[i];
        if (curve->boxes == 0) continue;
        uint32_t colour = few ? colours[row - 1] : pale;
        draw_curve(image, curve, few ? 2 : 1, colour);
        if (few) draw_legend(image, row++, names[i], curve->ap50, 2, colour);
    }
    draw_mean(image, curves->mean);
    return LAM_OK;
}

static lam_status write_csv(const struct detect_curves *curves, char *const *names, const char *path) {
    struct lam_atomic_file file;
    LAM_TRY(lam_atomic_open(&file, path));
    fputs("class,score,recall,precision,best_precision\n", file.stream);
    for (int i = 0; i < curves->classes; i++)
        for (int64_t k = 0; k < curves->of_class[i].count; k++) {
            const struct detect_curve_point *p = &curves->of_class[i].points[k];
            lam_put_csv(names[i], file.stream);
            fprintf(file.stream, ",%.6g,%.6g,%.6g,%.6g\n", (double)p->score, p->recall, p->precision,
                    p->best);
        }
    return lam_atomic_commit(&file);
}

lam_status detect_curves_write(const struct detect_curves *curves, char *const *names, const char *folder) {
    char *csv = lam_path_join(folder, "precision_recall.csv"),
         *png = lam_path_join(folder, "precision_recall.png");
    lam_status status = csv && png ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) status = write_csv(curves, names, csv);
    struct lam_image image = {0};
    if (status == LAM_OK) status = detect_curves_draw(curves, names, &image);
    if (status == LAM_OK) status = lam_image_save_png(png, &image);
    lam_image_free(&image);
    free(csv);
    free(png);
    return status;
}
