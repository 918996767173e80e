#include "apps/gpu_check_time.h"

#include <stdlib.h>

#include "base/files.h"
#include "base/rng.h"
#include "bench/block.h"

enum { ROUNDS = 5 };

static lam_status time_round(struct lam_device *device, gpu_check_once once, void *context, int count,
                             double *seconds) {
    double start = lam_seconds();
    for (int i = 0; i < count; i++) LAM_TRY(once(context));
    LAM_TRY(lam_device_backend(device)->stream_sync(lam_device_stream(device)));
    *seconds = lam_seconds() - start;
    return LAM_OK;
}

lam_status gpu_check_seconds(struct lam_device *device, gpu_check_once once, void *context, bool quick,
                             double *seconds) {
    const double long_enough = 0.05;
    double all[ROUNDS];
    int count = 1;
    LAM_TRY(
        time_round(device, once, context, 1, seconds)); /* what is set up at the first one is not counted */
    LAM_TRY(time_round(device, once, context, 1, seconds));
    while (!quick && *seconds < long_enough && count < 1 << 20) {
        count *= 2;
        LAM_TRY(time_round(device, once, context, count, seconds));
    }
    for (int r = 0; r < ROUNDS; r++) LAM_TRY(time_round(device, once, context, count, &all[r]));
    bench_sort(all, ROUNDS);
    *seconds = all[ROUNDS / 2] / count;
    return LAM_OK;
}

/* ---- a kernel ---- */

struct kernel_run {
    struct lam_device *device;
    struct lam_kernel *kernel;
    struct lam_kernel_args args;
};

/* Random numbers, the same ones again and again: zeros would need less power than real data, and let the clocks run higher. */
static lam_status fill(struct lam_device *device, const struct lam_tensor_desc *desc, void *to) {
    enum { COUNT = 1 << 20 };
    size_t size = lam_dtype_bytes(desc->dtype), bytes = lam_tensor_bytes(desc), chunk = COUNT * size;
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    char *host = malloc(chunk);
    if (!host) return lam_no_memory();
    for (int i = 0; i < COUNT; i++) {
        float value = lam_rng_normal(&rng);
        if (desc->dtype == LAM_BF16)
            ((uint16_t *)(void *)host)[i] = lam_f32_to_bf16(value);
        else
            ((float *)(void *)host)[i] = value;
    }
    lam_status status = LAM_OK;
    for (size_t at = 0; at < bytes && status == LAM_OK; at += chunk)
        status = lam_device_upload(device, (char *)to + at, host, bytes - at < chunk ? bytes - at : chunk);
    free(host);
    return status;
}

static lam_status prepare_input(struct kernel_run *r, int i) {
    const struct lam_operand *operand = &r->kernel->op.in[i];
    struct lam_stream *stream = lam_device_stream(r->device);
    void *values, *prepared;
    if (!operand->present) return LAM_OK;
    LAM_TRY(lam_device_alloc(r->device, LAM_MEMORY_DATA, lam_tensor_bytes(&operand->desc), &values));
    LAM_TRY(fill(r->device, &operand->desc, values));
    r->args.in[i] = values;
    if (!r->kernel->prepared_bytes[i]) return LAM_OK;
    LAM_TRY(lam_device_alloc(r->device, LAM_MEMORY_DATA, r->kernel->prepared_bytes[i], &prepared));
    r->kernel->prepare(r->kernel, i, values, prepared, 0, 1, stream);
    r->args.in[i] = prepared;
    return lam_device_backend(r->device)->stream_sync(stream);
}

static lam_status prepare(struct kernel_run *r) {
    const struct lam_op *op = &r->kernel->op;
    for (int i = 0; i < op->inputs; i++) LAM_TRY(prepare_input(r, i));
    for (int i = 0; i < op->outputs; i++)
        LAM_TRY(lam_device_alloc(r->device, LAM_MEMORY_DATA, lam_tensor_bytes(&op->out[i].desc),
                                 &r->args.out[i]));
    LAM_TRY(
        lam_device_alloc(r->device, LAM_MEMORY_WORKSPACE, r->kernel->workspace_bytes, &r->args.workspace));
    return LAM_OK;
}

static void on_lane(void *context, int lane) {
    struct kernel_run *r = context;
    r->args.lane = lane;
    r->kernel->run(r->kernel, &r->args);
}

static lam_status run_once(void *context) {
    struct kernel_run *r = context;
    lam_device_backend(r->device)->run_lanes(lam_device_handle(r->device), on_lane, r);
    return LAM_OK;
}

static lam_status time_kernel(struct kernel_run *r, const struct lam_op *op, bool tf32, bool quick,
                              double *seconds) {
    const struct lam_backend *backend = lam_device_backend(r->device);
    static const struct lam_run run = {.seed = 1};
    int batch = (int)op->in[0].desc.shape.dim[0];
    struct lam_kernel_options options = {
        .slices = &batch, .slice_count = 1, .lanes = lam_device_lanes(r->device), .tf32 = tf32};
    LAM_TRY(backend->kernel_create(lam_device_handle(r->device), op, &options, &r->kernel, NULL));
    r->args.count = batch;
    r->args.stream = lam_device_stream(r->device);
    r->args.run = &run;
    LAM_TRY(prepare(r));
    return gpu_check_seconds(r->device, run_once, r, quick, seconds);
}

lam_status gpu_check_op_seconds(const char *device, const struct lam_op *op, bool tf32, bool quick,
                                double *seconds) {
    struct kernel_run r = {.kernel = NULL};
    LAM_TRY(lam_device_open(device, 0, &r.device));
    lam_status status = time_kernel(&r, op, tf32, quick, seconds);
    if (r.kernel) r.kernel->destroy(r.kernel);
    lam_device_close(r.device); /* with all that was allocated */
    return status;
}
