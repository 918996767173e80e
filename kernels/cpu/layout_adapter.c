#include "cpu/layout_adapter.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/repack.h"

enum { ALIGNMENT = 64 };

static size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void free_kernel(struct lam_kernel *kernel) {
    free(kernel);
}

lam_status lam_cpu_kernel_new(size_t bytes, const struct lam_op *op, struct lam_kernel **kernel) {
    struct lam_kernel *made = calloc(1, bytes);
    if (!made) return lam_fail(LAM_ERR_NO_MEMORY, "no memory for a kernel of %zu bytes", bytes);
    made->backend = &lam_backend_cpu;
    made->op = *op;
    made->destroy = free_kernel;
    *kernel = made;
    return LAM_OK;
}

lam_status lam_cpu_unsupported(const struct lam_op *op, const char *why) {
    char shape[96] = "";
    if (op->inputs > 0) lam_shape_text(op->in[0].desc.shape, shape, sizeof shape);
    return lam_fail(LAM_ERR_UNSUPPORTED, "%s of %s on the cpu: %s", lam_op_name(op->kind), shape, why);
}

int64_t lam_cpu_sample_elements(const struct lam_operand *operand) {
    const struct lam_tensor_desc *desc = &operand->desc;
    int64_t elements = (int64_t)(lam_tensor_bytes(desc) / lam_dtype_bytes(desc->dtype));
    if (!operand->batched) return elements;
    return desc->shape.dim[0] > 0 ? elements / desc->shape.dim[0] : 0;
}

int64_t lam_cpu_slice_elements(const struct lam_operand *operand, const struct lam_kernel_args *args) {
    return lam_cpu_sample_elements(operand) * (operand->batched ? args->count : 1);
}

static bool has_layout(const struct lam_operand *operand) {
    return operand->present && operand->batched && operand->desc.shape.rank == 4;
}

bool lam_cpu_same_layout(const struct lam_op *op, enum lam_layout *layout) {
    bool same = true, any = false;
    *layout = LAM_PLAIN;
    for (int i = 0; i < op->inputs + op->outputs; i++) {
        const struct lam_operand *operand = i < op->inputs ? &op->in[i] : &op->out[i - op->inputs];
        if (!has_layout(operand)) continue;
        if (any && operand->desc.layout != *layout) same = false;
        if (!any || *layout == LAM_PLAIN) *layout = operand->desc.layout;
        any = true;
    }
    return same;
}

bool lam_cpu_any_blocked(const struct lam_op *op) {
    enum lam_layout layout;
    return !lam_cpu_same_layout(op, &layout) || layout != LAM_PLAIN;
}

struct converted {
    bool used;
    struct lam_tensor_desc outside, inside;
    size_t offset; /* into the adapter's workspace */
};

struct adapter {
    struct lam_kernel base;
    struct lam_kernel *inner;
    struct converted in[LAM_MAX_INPUTS], out[LAM_MAX_OUTPUTS];
    size_t inner_workspace; /* offset */
};

static void adapter_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const struct adapter *adapter = (const struct adapter *)kernel;
    struct lam_kernel_args inside = *args;
    char *workspace = args->workspace;
    inside.workspace = workspace + adapter->inner_workspace;
    for (int i = 0; i < kernel->op.inputs; i++) {
        const struct converted *in = &adapter->in[i];
        if (!in->used) continue;
        lam_cpu_repack(&in->outside, args->in[i], in->inside.layout, workspace + in->offset, args->count);
        inside.in[i] = workspace + in->offset;
    }
    for (int i = 0; i < kernel->op.outputs; i++)
        if (adapter->out[i].used) inside.out[i] = workspace + adapter->out[i].offset;
    adapter->inner->run(adapter->inner, &inside);
    for (int i = 0; i < kernel->op.outputs; i++) {
        const struct converted *out = &adapter->out[i];
        if (out->used)
            lam_cpu_repack(&out->inside, inside.out[i], out->outside.layout, args->out[i], args->count);
    }
}

static void adapter_prepare(const struct lam_kernel *kernel, int input, const void *source, void *prepared,
                            int part, int parts, struct lam_stream *stream) {
    const struct adapter *adapter = (const struct adapter *)kernel;
    adapter->inner->prepare(adapter->inner, input, source, prepared, part, parts, stream);
}

static void adapter_reduce(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                           void *const *out, int part, int parts, struct lam_stream *stream) {
    const struct adapter *adapter = (const struct adapter *)kernel;
    adapter->inner->reduce(adapter->inner, partials, partial_count, out, part, parts, stream);
}

static void adapter_destroy(struct lam_kernel *kernel) {
    struct adapter *adapter = (struct adapter *)kernel;
    if (adapter->inner) adapter->inner->destroy(adapter->inner);
    free(adapter);
}

/* Gives `operand` the layout inside, and workspace where that differs from outside. */
static void convert(struct lam_operand *operand, enum lam_layout layout, int samples,
                    struct converted *converted, size_t *workspace) {
    if (!has_layout(operand) || operand->desc.layout == layout) return;
    converted->used = true;
    converted->outside = operand->desc;
    operand->desc.layout = layout;
    converted->inside = operand->desc;
    converted->offset = *workspace;
    size_t sample = (size_t)lam_cpu_sample_elements(operand) * lam_dtype_bytes(operand->desc.dtype);
    *workspace += aligned(sample * (size_t)samples);
}

lam_status lam_cpu_adapt(const struct lam_op *op, const struct lam_kernel_options *options,
                         enum lam_layout layout, lam_cpu_create_fn create, struct lam_kernel **kernel,
                         const char **chosen) {
    for (int i = 0; i < op->inputs + op->outputs; i++)
        if ((i < op->inputs ? op->in[i] : op->out[i - op->inputs]).desc.layout == LAM_NHWC)
            return lam_cpu_unsupported(op, "the NHWC layout is not for this device");
    struct lam_kernel *made = NULL;
    LAM_TRY(lam_cpu_kernel_new(sizeof(struct adapter), op, &made));
    struct adapter *adapter = (struct adapter *)made;
    made->destroy = adapter_destroy;
    made->run = adapter_run;
    struct lam_op inside = *op;
    size_t workspace = 0;
    for (int i = 0; i < op->inputs; i++)
        convert(&inside.in[i], layout, options->slices[0], &adapter->in[i], &workspace);
    for (int i = 0; i < op->outputs; i++)
        convert(&inside.out[i], layout, options->slices[0], &adapter->out[i], &workspace);
    lam_status status = create(&inside, options, &adapter->inner, chosen);
    if (status != LAM_OK) {
        adapter_destroy(made);
        return status;
    }
    adapter->inner_workspace = workspace;
    made->workspace_bytes = workspace + adapter->inner->workspace_bytes;
    made->partial_bytes = adapter->inner->partial_bytes;
    made->partial_is_output = adapter->inner->partial_is_output;
    memcpy(made->prepared_bytes, adapter->inner->prepared_bytes, sizeof made->prepared_bytes);
    memcpy(made->prepared_form, adapter->inner->prepared_form, sizeof made->prepared_form);
    if (adapter->inner->prepare) made->prepare = adapter_prepare;
    if (adapter->inner->reduce) made->reduce = adapter_reduce;
    *kernel = made;
    return LAM_OK;
}
