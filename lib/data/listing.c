/* What is in a folder, in an order that depends on nothing but the names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"

/* What people keep pictures in; what cannot be read is reported by name rather than passed over. */
static const char *const endings[] = {".png",  ".jpg", ".jpeg", ".jpe", ".bmp", ".gif",
                                      ".webp", ".ppm", ".pgm",  ".pbm", ".tif", ".tiff"};

bool lam_is_image_name(const char *name) {
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name) return false;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name); /* not by locale: labels must not depend on it */
}

static int not_hidden(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

void lam_list_free(struct dirent **list, int count) {
    for (int i = 0; i < count; i++) free(list[i]);
    free(list);
}

lam_status lam_list_folder(const char *path, struct dirent ***list, int *count) {
    *count = scandir(path, list, not_hidden, by_bytes);
    if (*count >= 0) return LAM_OK;
    return lam_fail(LAM_ERR_IO, "%s: cannot be listed: %s", path, strerror(errno));
}
