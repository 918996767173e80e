/* The emulated cuBLASLt: handles, statuses and descriptors. */
#include "cuda_emulator/cublas_objects.h"

#include <cstring>

using namespace emulator::cublas;
namespace library = emulator::library;

namespace {

template <typename Value, typename Opaque> void write(const Value &value, Opaque *descriptor) {
    memset(descriptor, 0, sizeof *descriptor);
    memcpy(descriptor, &value, sizeof value);
}

template <typename Value, typename Opaque>
cublasStatus_t create(const char *name, Opaque **descriptor, const Value &value) {
    Opaque fresh;
    write(value, &fresh);
    return library::create<cublasStatus_t>(name, Value::kind, descriptor, fresh);
}

template <typename Value, typename Opaque>
cublasStatus_t init(const char *name, Opaque *descriptor, size_t size, const Value &value) {
    return entry(name, [&] {
        if (!descriptor) refuse(CUBLAS_STATUS_INVALID_VALUE, "no room for the %s", Value::kind);
        if (size < sizeof *descriptor)
            refuse(CUBLAS_STATUS_ALLOC_FAILED, "%zu bytes for a %s", size, Value::kind);
        write(value, descriptor);
    });
}

template <typename Value, typename Opaque> cublasStatus_t destroy(const char *name, Opaque *descriptor) {
    return library::destroy<cublasStatus_t>(name, Value::kind, descriptor);
}

/* Where an attribute is kept, and its size; NULL: it is not emulated. */
struct place {
    void *memory;
    size_t bytes;
};

template <typename T> place at(T &value) {
    return {&value, sizeof value};
}

place place_of(layout &l, cublasLtMatrixLayoutAttribute_t attribute) {
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return at(l.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return at(l.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return at(l.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return at(l.cols);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return at(l.ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return at(l.batches);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return at(l.batch_offset);
    default:
        return {nullptr, 0};
    }
}

place place_of(operation &o, cublasLtMatmulDescAttributes_t attribute) {
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return at(o.compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
        return at(o.scale);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return at(o.transa);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return at(o.transb);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return at(o.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return at(o.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return at(o.bias_type);
    default:
        return {nullptr, 0};
    }
}

place place_of(preference &p, cublasLtMatmulPreferenceAttributes_t attribute) {
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
        return at(p.search);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return at(p.workspace);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return at(p.reductions);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return at(p.alignment[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return at(p.alignment[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return at(p.alignment[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return at(p.alignment[3]);
    default:
        return {nullptr, 0};
    }
}

template <typename Value, typename Opaque, typename Attribute>
cublasStatus_t set(const char *name, Opaque *descriptor, Attribute attribute, const void *from,
                   size_t bytes) {
    return entry(name, [&] {
        place to = place_of(value_of<Value>(descriptor, "the descriptor"), attribute);
        if (!to.memory)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "attribute %d of a %s is not emulated", (int)attribute,
                   Value::kind);
        if (!from || bytes != to.bytes)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "attribute %d of a %s has %zu bytes, not %zu", (int)attribute,
                   Value::kind, to.bytes, bytes);
        memcpy(to.memory, from, bytes);
    });
}

layout layout_of(cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld) {
    return {layout::marked, rows, cols, ld, 0, (uint32_t)type, CUBLASLT_ORDER_COL, 1};
}

operation operation_of(cublasComputeType_t compute, cudaDataType_t scale) {
    return {operation::marked,         compute, scale,  CUBLAS_OP_N, CUBLAS_OP_N,
            CUBLASLT_EPILOGUE_DEFAULT, -1,      nullptr};
}

preference default_preference() {
    return {preference::marked,
            0,
            CUBLASLT_SEARCH_BEST_FIT,
            CUBLASLT_REDUCTION_SCHEME_MASK,
            {256, 256, 256, 256}};
}

} // namespace

/* ---- the library, handles, statuses ---- */

size_t cublasLtGetVersion(void) {
    return CUBLAS_VERSION;
}

const char *cublasLtGetStatusName(cublasStatus_t status) {
    emulator::note_looked();
#define NAME(value)                                                                                          \
    case value:                                                                                              \
        return #value
    switch (status) {
        NAME(CUBLAS_STATUS_SUCCESS);
        NAME(CUBLAS_STATUS_NOT_INITIALIZED);
        NAME(CUBLAS_STATUS_ALLOC_FAILED);
        NAME(CUBLAS_STATUS_INVALID_VALUE);
        NAME(CUBLAS_STATUS_ARCH_MISMATCH);
        NAME(CUBLAS_STATUS_MAPPING_ERROR);
        NAME(CUBLAS_STATUS_EXECUTION_FAILED);
        NAME(CUBLAS_STATUS_INTERNAL_ERROR);
        NAME(CUBLAS_STATUS_NOT_SUPPORTED);
        NAME(CUBLAS_STATUS_LICENSE_ERROR);
    }
#undef NAME
    return "CUBLAS_STATUS_UNKNOWN";
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
    return cublasLtGetStatusName(status);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    return library::create<cublasStatus_t, cublasLtContext>(__func__, cublasLtContext::kind, handle,
                                                            {emulator::current_device()});
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    return destroy<cublasLtContext>(__func__, handle);
}

/* ---- layouts ---- */

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, size_t size, cudaDataType type,
                                                 uint64_t rows, uint64_t cols, int64_t ld) {
    return init(__func__, l, size, layout_of(type, rows, cols, ld));
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
    return create(__func__, l, layout_of(type, rows, cols, ld));
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
    return destroy<layout>(__func__, l);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void *from,
                                                size_t bytes) {
    return set<layout>(__func__, l, attribute, from, bytes);
}

/* ---- operations ---- */

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t o, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
    return init(__func__, o, size, operation_of(compute, scale));
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *o, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    return create(__func__, o, operation_of(compute, scale));
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t o) {
    return destroy<operation>(__func__, o);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t o,
                                              cublasLtMatmulDescAttributes_t attribute, const void *from,
                                              size_t bytes) {
    return set<operation>(__func__, o, attribute, from, bytes);
}

/* ---- preferences ---- */

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t size) {
    return init(__func__, p, size, default_preference());
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p) {
    return create(__func__, p, default_preference());
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
    return destroy<preference>(__func__, p);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *from, size_t bytes) {
    return set<preference>(__func__, p, attribute, from, bytes);
}
