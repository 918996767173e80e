/* Runs a kernel once over a whole batch, on all lanes of a device, slice by slice, as lib/device/backend.h
 * says, between guards and on poisoned memory. */
#ifndef LAM_TESTS_EXECUTION_H
#define LAM_TESTS_EXECUTION_H

#include "conformance/operands.h"
#include "device/backend.h"

struct execution {
    const struct lam_backend *backend;
    struct lam_backend_device *device;
    int slice;          /* samples per slice; 0: as many as a lane has */
    bool share_partial; /* lane 0 uses the output as its partial, if the kernel allows it */
    uint8_t poison;     /* what memory is filled with before the run */
};

enum { EXECUTION_MAX_SLICES = 16 };

/* The slice sizes that the execution of an op needs, largest first; returns their number. */
int execution_slices(const struct execution *execution, const struct lam_op *op,
                     int sizes[EXECUTION_MAX_SLICES]);

struct results {
    void *out[LAM_MAX_OUTPUTS]; /* host, in the output's own format; NULL: absent. free() each */
};

/* LAM_ERR_INTERNAL when the kernel wrote where it must not; the error text says where. */
lam_status execution_run(const struct execution *execution, const struct lam_kernel *kernel,
                         const struct lam_op *op, const struct operands *operands, const struct lam_run *run,
                         struct results *results);
void results_destroy(struct results *results);

#endif
