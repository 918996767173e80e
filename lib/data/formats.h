/* Inside lib/data: the formats and what they share. Not a public header. */
#ifndef LAM_DATA_FORMATS_H
#define LAM_DATA_FORMATS_H

#include "data/dataset.h"

extern const struct lam_dataset_format lam_format_shapes, lam_format_cifar10, lam_format_cifar100,
    lam_format_svhn, lam_format_stl10, lam_format_idx, lam_format_folder;

extern const struct lam_dataset_format *const lam_format_table[]; /* NULL-terminated */

/* dataset->class_names from the dataset->classes lines of a file; from `standard` (may be NULL: none) when
 * there is no such file. LAM_ERR_FORMAT when the file has another number of names. */
lam_status lam_class_names_read(struct lam_dataset *dataset, const char *folder, const char *file,
                                const char *const *standard);
lam_status lam_class_names_copy(struct lam_dataset *dataset, const char *const *names);
void lam_class_names_free(struct lam_dataset *dataset);

bool lam_folder_has(const char *folder, const char *file);

/* "path", or "path/inner" if that is a folder: archives unpack into a folder of their own. malloc'd. */
char *lam_inner_folder(const char *path, const char *inner);

#endif
