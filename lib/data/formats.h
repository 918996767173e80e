/* Inside lib/data: the formats and what they share. Not a public header. */
#ifndef LAM_DATA_FORMATS_H
#define LAM_DATA_FORMATS_H

#include <dirent.h>

#include "data/dataset.h"

extern const struct lam_dataset_format lam_format_shapes, lam_format_cifar10, lam_format_cifar100,
    lam_format_svhn, lam_format_stl10, lam_format_idx, lam_format_folder, lam_format_voc, lam_format_coco,
    lam_format_srdir;

extern const struct lam_dataset_format *const lam_format_table[]; /* NULL-terminated */

enum { LAM_MAX_CLASSES = 65536 }; /* more are a mistake */

/* dataset->class_names from the dataset->classes lines of a file (0: of as many as it has); from `standard`
 * (may be NULL: none) when there is no such file. LAM_ERR_FORMAT when the file has another number of names. */
lam_status lam_class_names_read(struct lam_dataset *dataset, const char *folder, const char *file,
                                const char *const *standard);
lam_status lam_class_names_copy(struct lam_dataset *dataset, const char *const *names);
void lam_class_names_free(struct lam_dataset *dataset);
int lam_class_find(const struct lam_dataset *dataset, const char *name); /* -1: there is none */

/* Everything in a folder but hidden names, sorted by bytes. LAM_ERR_IO. */
lam_status lam_list_folder(const char *path, struct dirent ***list, int *count);
void lam_list_free(struct dirent **list, int count);
bool lam_is_image_name(const char *name); /* by its ending; not only of formats that can be read */

bool lam_folder_has(const char *folder, const char *file);

/* "path", or "path/inner" if that is a folder: archives unpack into a folder of their own. malloc'd. */
char *lam_inner_folder(const char *path, const char *inner);

#endif
