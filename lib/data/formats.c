/* The formats, each in its own file, in the order in which --help lists them. */
#include "data/formats.h"

const struct lam_dataset_format *const lam_format_table[] = {
    &lam_format_shapes,
    &lam_format_cifar10,
    &lam_format_cifar100,
    &lam_format_svhn,
    &lam_format_stl10,
    &lam_format_idx,
    &lam_format_folder,
    &lam_format_voc,
    &lam_format_coco,
    &lam_format_srdir,
    NULL,
};
