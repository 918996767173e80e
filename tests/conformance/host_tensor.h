/* Tensors in a device's format on the host: doubles in and out of any dtype and layout. */
#ifndef LAM_TESTS_HOST_TENSOR_H
#define LAM_TESTS_HOST_TENSOR_H

#include "base/tensor.h"

/* `values`: row-major. Channels that pad a block are stored as zero. */
void host_tensor_store(const struct lam_tensor_desc *desc, const double *values, void *bytes);
void host_tensor_load(const struct lam_tensor_desc *desc, const void *bytes, double *values);

/* Are all bytes of the padding channels zero? */
bool host_tensor_padding_is_zero(const struct lam_tensor_desc *desc, const void *bytes);

#endif
