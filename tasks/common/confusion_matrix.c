#include "tasks/common/confusion_matrix.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/files.h"
#include "train/draw.h"

static int64_t count_at(const struct confusion_matrix *m, int label, int guess) {
    return m->counts[(size_t)label * (size_t)m->size + (size_t)guess];
}

/* White to blue with the share of the row. */
static uint32_t heat(int64_t count, int64_t row) {
    double share = row ? (double)count / (double)row : 0;
    uint32_t light = (uint32_t)(255 - 215 * share);
    return light << 16 | (light + (255 - light) / 4) << 8 | 255u;
}

lam_status confusion_matrix_draw(const struct confusion_matrix *m, struct lam_image *image) {
    int n = m->size, cell = n <= 20 ? 36 : n <= 100 ? 12 : n <= 500 ? 4 : 2;
    int left = n <= 100 ? 110 : 8, top = n <= 20 ? 24 : 8; /* room for names */
    LAM_TRY(lam_image_alloc(image, left + n * cell + 8, top + n * cell + 8, 3));
    lam_draw_fill(image, 0, 0, image->width, image->height, LAM_WHITE);
    for (int i = 0; i < n; i++) {
        int64_t row = 0;
        for (int j = 0; j < n; j++) row += count_at(m, i, j);
        if (n <= 100)
            lam_draw_text(image, 4, top + i * cell + cell / 2 - 4, left - 6, m->names[i], LAM_BLACK);
        if (n <= 20) lam_draw_text(image, left + i * cell + 2, 8, cell - 2, m->names[i], LAM_BLACK);
        for (int j = 0; j < n; j++) {
            int64_t count = count_at(m, i, j);
            int x = left + j * cell, y = top + i * cell;
            lam_draw_fill(image, x, y, cell - (cell > 4), cell - (cell > 4), heat(count, row));
            char text[24];
            snprintf(text, sizeof text, "%lld", (long long)count);
            bool dark = 2 * count > row;
            if (n <= 20 && count)
                lam_draw_text(image, x + 3, y + cell / 2 - 4, cell - 3, text, dark ? LAM_WHITE : LAM_BLACK);
        }
    }
    return LAM_OK;
}

static lam_status write_csv(const struct confusion_matrix *m, const char *path) {
    struct lam_atomic_file file;
    LAM_TRY(lam_atomic_open(&file, path));
    fputs("label\\predicted", file.stream);
    for (int i = 0; i < m->size; i++) {
        fputc(',', file.stream);
        lam_put_csv(m->names[i], file.stream);
    }
    for (int i = 0; i < m->size; i++) {
        fputc('\n', file.stream);
        lam_put_csv(m->names[i], file.stream);
        for (int j = 0; j < m->size; j++) fprintf(file.stream, ",%lld", (long long)count_at(m, i, j));
    }
    fputc('\n', file.stream);
    return lam_atomic_commit(&file);
}

lam_status confusion_matrix_write(const struct confusion_matrix *m, const char *folder) {
    char *csv = lam_path_join(folder, "confusion.csv"), *png = lam_path_join(folder, "confusion.png");
    lam_status status = csv && png ? LAM_OK : lam_no_memory();
    if (status == LAM_OK) status = write_csv(m, csv);
    struct lam_image image = {0};
    if (status == LAM_OK) status = confusion_matrix_draw(m, &image);
    if (status == LAM_OK) status = lam_image_save_png(png, &image);
    lam_image_free(&image);
    free(csv);
    free(png);
    return status;
}
