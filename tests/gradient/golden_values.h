/* The numbers of tests/golden/values.py, made again here to the bit: weights by parameter name, batches by
 * number, and the random signs of gradient projections. */
#ifndef TESTS_GRADIENT_GOLDEN_VALUES_H
#define TESTS_GRADIENT_GOLDEN_VALUES_H

#include "graph/params.h"

enum { GOLDEN_PROJECTIONS = 16 };

void golden_parameter(const struct lam_param *param, float *values);

struct golden_shape {
    int count, channels, image_size, classes; /* image_size: a multiple of 8 */
};
void golden_batch(int number, const struct golden_shape *shape, float *images, int32_t *labels);

/* Inner products of values with the fixed vectors of +1 and -1 that belong to `name`. */
void golden_project(const char *name, const float *values, int64_t count,
                    double projections[GOLDEN_PROJECTIONS]);

#endif
