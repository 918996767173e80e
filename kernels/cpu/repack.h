/* Changing the layout of rank-4 tensors. */
#ifndef LAM_CPU_REPACK_H
#define LAM_CPU_REPACK_H

#include "base/tensor.h"

/* `samples` samples of a tensor described by `from` into layout `to`: PLAIN, C8 and C16 in any pair, elements
 * of 1, 2 or 4 bytes. Writes zeros into the channel padding. */
void lam_cpu_repack(const struct lam_tensor_desc *from, const void *source, enum lam_layout to, void *target,
                    int64_t samples);

#endif
