/* The objects behind the handles and descriptors of the emulated cuBLASLt. A descriptor lives in the
 * caller's memory (...Init) or in ours (...Create); a mark tells whether it is one. */
#ifndef LAM_CUDA_EMULATOR_CUBLAS_OBJECTS_H
#define LAM_CUDA_EMULATOR_CUBLAS_OBJECTS_H

#include <cublasLt.h>

#include "cuda_emulator/cudnn_cublas.h"

template <> struct emulator::library::statuses<cublasStatus_t> {
    static constexpr cublasStatus_t execution_failed = CUBLAS_STATUS_EXECUTION_FAILED;
    static constexpr cublasStatus_t alloc_failed = CUBLAS_STATUS_ALLOC_FAILED;
    static constexpr cublasStatus_t invalid = CUBLAS_STATUS_INVALID_VALUE;
    static constexpr cublasStatus_t unsupported = CUBLAS_STATUS_NOT_SUPPORTED;
};

struct cublasLtContext {
    static constexpr const char *kind = "cublasLtHandle_t";
    int device;
};

namespace emulator::cublas {

using library::element;
using library::refuse;

/* Marks come first, where a freed block is overwritten. */
struct layout {
    static constexpr const char *kind = "cublasLtMatrixLayout_t";
    static constexpr uint64_t marked = 0x6C61796F75743A31u;
    uint64_t mark;
    uint64_t rows, cols;
    int64_t ld, batch_offset;
    uint32_t type;
    int32_t order, batches;

    element of() const { return type == CUDA_R_32F ? element::f32 : element::bf16; }
    int64_t row_step() const { return order == CUBLASLT_ORDER_COL ? 1 : ld; }
    int64_t col_step() const { return order == CUBLASLT_ORDER_COL ? ld : 1; }
    /* From the first to the last element of one matrix, and of all. */
    int64_t extent() const { return (int64_t)(rows - 1) * row_step() + (int64_t)(cols - 1) * col_step() + 1; }
    size_t bytes() const {
        return (size_t)((batches - 1) * batch_offset + extent()) * library::size_of(of());
    }
};

struct operation {
    static constexpr const char *kind = "cublasLtMatmulDesc_t";
    static constexpr uint64_t marked = 0x6D61746D756C3A31u;
    uint64_t mark;
    int32_t compute, scale, transa, transb;
    uint32_t epilogue;
    int32_t bias_type; /* -1: that of D */
    const void *bias;
};

struct preference {
    static constexpr const char *kind = "cublasLtMatmulPreference_t";
    static constexpr uint64_t marked = 0x707265663A31u;
    uint64_t mark;
    uint64_t workspace;
    uint32_t search, reductions;
    uint32_t alignment[4]; /* of A, B, C, D */
};

static_assert(sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));
static_assert(sizeof(operation) <= sizeof(cublasLtMatmulDescOpaque_t));
static_assert(sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

template <typename Body> cublasStatus_t entry(const char *name, Body body) {
    return library::entry<cublasStatus_t>(name, body);
}

/* The value in a descriptor. */
template <typename Value, typename Opaque> Value &value_of(Opaque *descriptor, const char *name) {
    Value *value = (Value *)descriptor;
    if (!value || value->mark != Value::marked)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "%s is not a %s", name, Value::kind);
    return *value;
}

} // namespace emulator::cublas

#endif
