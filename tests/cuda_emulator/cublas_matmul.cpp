/* The emulated cuBLASLt: which algorithm, and the product. */
#include "cuda_emulator/cublas_math.h"

#include <algorithm>
#include <cstring>

using namespace emulator::cublas;
namespace library = emulator::library;

namespace {

/* ---- descriptors that fit together ---- */

void check_layout(const layout &l, const char *name) {
    if (l.type != CUDA_R_32F && l.type != CUDA_R_16BF)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "%s has elements of type %u; float and bfloat16 are emulated",
               name, l.type);
    if (l.order != CUBLASLT_ORDER_COL && l.order != CUBLASLT_ORDER_ROW)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "%s has order %d; COL and ROW are emulated", name, l.order);
    if (l.rows < 1 || l.cols < 1 || l.rows > INT32_MAX || l.cols > INT32_MAX)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "%s is %lu x %lu", name, (unsigned long)l.rows,
               (unsigned long)l.cols);
    int64_t least = (int64_t)(l.order == CUBLASLT_ORDER_COL ? l.rows : l.cols);
    if (l.ld < least)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "%s has leading dimension %ld, less than %ld", name, (long)l.ld,
               (long)least);
    if (l.batches < 1 || l.batch_offset < 0)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "%s has %d matrices, %ld apart", name, l.batches,
               (long)l.batch_offset);
}

void check_types(const product &p) {
    if (p.op.compute != CUBLAS_COMPUTE_32F && p.op.compute != CUBLAS_COMPUTE_32F_FAST_TF32)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "compute type %d; 32F and 32F_FAST_TF32 are emulated",
               p.op.compute);
    if (p.op.scale != CUDA_R_32F)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "scale type %d; only CUDA_R_32F is emulated", p.op.scale);
    if (p.a.type != p.b.type || p.c.type != p.d.type ||
        (p.a.of() == element::f32 && p.d.of() != element::f32))
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "element types of A, B, C, D: %u, %u, %u, %u", p.a.type, p.b.type,
               p.c.type, p.d.type);
}

void check_sizes(const product &p) {
    bool tb = p.op.transb != CUBLAS_OP_N;
    int64_t inner = (int64_t)(tb ? p.b.cols : p.b.rows);
    if (inner != p.k || (int64_t)p.d.rows != p.m || (int64_t)p.d.cols != p.n || p.c.rows != p.d.rows ||
        p.c.cols != p.d.cols)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "op(A) is %ld x %ld, op(B) %ld x %ld, C %lu x %lu, D %lu x %lu",
               (long)p.m, (long)p.k, (long)inner, (long)p.n, (unsigned long)p.c.rows, (unsigned long)p.c.cols,
               (unsigned long)p.d.rows, (unsigned long)p.d.cols);
    if (p.a.batches != p.d.batches || p.b.batches != p.d.batches || p.c.batches != p.d.batches)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "A, B, C, D have %d, %d, %d, %d matrices", p.a.batches,
               p.b.batches, p.c.batches, p.d.batches);
    if (p.d.batches > 1 && p.d.batch_offset < p.d.extent())
        refuse(CUBLAS_STATUS_INVALID_VALUE, "the matrices of D overlap: %ld apart", (long)p.d.batch_offset);
    if (p.a.order != p.d.order || p.b.order != p.d.order || p.c.order != p.d.order)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "matrices of different orders");
}

void check_epilogue(const product &p) {
    if (!p.gradient() && !p.epilogue(CUBLASLT_EPILOGUE_DEFAULT) && !p.epilogue(CUBLASLT_EPILOGUE_BIAS))
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "epilogue %u is not emulated", p.op.epilogue);
    if (p.epilogue(CUBLASLT_EPILOGUE_DEFAULT)) return;
    if (p.d.order != CUBLASLT_ORDER_COL)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an epilogue, and matrices that are not column-major");
    if (p.gradient() && p.d.batches > 1)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the gradient of a bias, in batches");
    if (p.op.bias_type != -1 && (uint32_t)p.op.bias_type != p.d.type)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a bias of type %d, D of type %u", p.op.bias_type, p.d.type);
}

void check_transposes(const operation &op) {
    for (int32_t t : {op.transa, op.transb})
        if (t != CUBLAS_OP_N && t != CUBLAS_OP_T && t != CUBLAS_OP_C)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "transform %d of a matrix", t);
}

product fit(cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
            cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
    product p = {};
    p.op = value_of<operation>(op, "the operation");
    p.a = value_of<layout>(a, "the layout of A");
    p.b = value_of<layout>(b, "the layout of B");
    p.c = value_of<layout>(c, "the layout of C");
    p.d = value_of<layout>(d, "the layout of D");
    check_transposes(p.op);
    check_layout(p.a, "A"), check_layout(p.b, "B"), check_layout(p.c, "C"), check_layout(p.d, "D");
    p.m = (int64_t)(p.op.transa == CUBLAS_OP_N ? p.a.rows : p.a.cols);
    p.k = (int64_t)(p.op.transa == CUBLAS_OP_N ? p.a.cols : p.a.rows);
    p.n = (int64_t)(p.op.transb == CUBLAS_OP_N ? p.b.cols : p.b.rows);
    check_types(p);
    check_sizes(p);
    check_epilogue(p);
    return p;
}

/* ---- algorithms ---- */

struct algorithm {
    int64_t run;            /* see multiply() */
    uint32_t reduction;     /* cublasLtReductionScheme_t */
    bool bias_gradients;    /* has the BGRAD epilogues */
    size_t least_alignment; /* of A, B, C and D, in bytes */
    size_t (*workspace)(const product &p);
};

/* From the fastest to the slowest. */
constexpr algorithm algorithms[] = {
    {256, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, true, 16,
     [](const product &p) { return (size_t)(p.m * p.n) * 16; }},
    {1024, CUBLASLT_REDUCTION_SCHEME_NONE, true, 16, [](const product &) { return (size_t)32768; }},
    {512, CUBLASLT_REDUCTION_SCHEME_NONE, false, 2, [](const product &) { return (size_t)0; }},
};
constexpr int algorithm_count = sizeof algorithms / sizeof *algorithms;

/* What is in a cublasLtMatmulAlgo_t. */
struct chosen {
    static constexpr uint64_t marked = 0x616C676F3A31u;
    uint64_t mark;
    uint64_t index, workspace;
    uint64_t problem;      /* fingerprint of the one that it was chosen for */
    uint32_t alignment[4]; /* that A, B, C, D were said to have at least */
    uint64_t bias_alignment;
};
static_assert(sizeof(chosen) <= sizeof(cublasLtMatmulAlgo_t));

/* Everything but pointers. */
uint64_t fingerprint(const product &p) {
    uint64_t hash = 0;
    auto add = [&](uint64_t value) { hash = library::scramble(hash ^ library::scramble(value + 1)); };
    for (const layout *l : {&p.a, &p.b, &p.c, &p.d}) {
        add(l->type), add((uint64_t)l->order), add(l->rows), add(l->cols);
        add((uint64_t)l->ld), add((uint64_t)l->batches), add((uint64_t)l->batch_offset);
    }
    add((uint64_t)p.op.compute), add((uint64_t)p.op.transa), add((uint64_t)p.op.transb), add(p.op.epilogue);
    return hash;
}

size_t rounded(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* The largest power of two, up to 256, that divides an address. */
uint64_t alignment_of(const void *memory) {
    uint64_t address = (uint64_t)(uintptr_t)memory | 256;
    return address & ~(address - 1);
}

bool fits(const algorithm &a, const product &p, const preference &wanted) {
    bool aligned = true;
    for (uint32_t alignment : wanted.alignment) aligned &= alignment >= a.least_alignment;
    return rounded(a.workspace(p)) <= wanted.workspace && (a.reduction & ~wanted.reductions) == 0 &&
           (a.bias_gradients || !p.gradient()) && aligned;
}

cublasLtMatmulHeuristicResult_t result_of(int index, const product &p, const preference &wanted) {
    chosen c = {
        chosen::marked, (uint64_t)index, rounded(algorithms[index].workspace(p)), fingerprint(p), {}, 0};
    std::copy(wanted.alignment, wanted.alignment + 4, c.alignment);
    c.bias_alignment = alignment_of(p.op.bias);
    cublasLtMatmulHeuristicResult_t result = {};
    memcpy(&result.algo, &c, sizeof c);
    result.workspaceSize = c.workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1.0f;
    return result;
}

void check_preference(const preference &wanted) {
    if (wanted.search != CUBLASLT_SEARCH_BEST_FIT)
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "search mode %u; only BEST_FIT is emulated", wanted.search);
    for (uint32_t alignment : wanted.alignment)
        if (alignment == 0 || (alignment & (alignment - 1)) != 0)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "an alignment of %u bytes", alignment);
}

/* Without an algorithm: the one that needs no workspace, and matrices aligned to 16 bytes. */
chosen choice_of(const cublasLtMatmulAlgo_t *algo, const product &p) {
    chosen c;
    preference plain = {
        preference::marked, 0, CUBLASLT_SEARCH_BEST_FIT, CUBLASLT_REDUCTION_SCHEME_MASK, {16, 16, 16, 16}};
    int last = algorithm_count - 1;
    if (!algo && !fits(algorithms[last], p, plain))
        refuse(CUBLAS_STATUS_NOT_SUPPORTED, "no algorithm without a workspace");
    cublasLtMatmulHeuristicResult_t fallback = result_of(last, p, plain);
    memcpy(&c, algo ? algo : &fallback.algo, sizeof c);
    if (c.mark != chosen::marked || c.index >= algorithm_count)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "not an algorithm of cublasLtMatmulAlgoGetHeuristic");
    if (c.problem != fingerprint(p))
        refuse(CUBLAS_STATUS_INVALID_VALUE, "the algorithm was chosen for another product");
    return c;
}

/* ---- the call's memory ---- */

struct memory_of {
    const void *a, *b, *c;
    void *d, *workspace;
    size_t workspace_bytes;
};

void check_in_place(const product &p, const memory_of &m) {
    if (m.c != m.d) return;
    if (p.c.ld != p.d.ld || p.c.order != p.d.order || p.c.batch_offset != p.d.batch_offset)
        refuse(CUBLAS_STATUS_INVALID_VALUE, "C is D, with another layout");
}

std::vector<library::operand> operands_of(const product &p, const memory_of &m, const chosen &c) {
    size_t bias_bytes = (size_t)p.bias_count() * library::size_of(p.d.of());
    std::vector<library::operand> operands = {
        {"A", m.a, p.a.bytes(), false, c.alignment[0]},
        {"B", m.b, p.b.bytes(), false, c.alignment[1]},
        {"D", m.d, p.d.bytes(), true, c.alignment[3]},
        {"the bias", p.op.bias, bias_bytes, p.gradient(), c.bias_alignment},
        {"workspace", m.workspace, m.workspace_bytes, true, 256},
    };
    if (m.c != m.d) operands.push_back({"C", m.c, p.c.bytes(), false, c.alignment[2]});
    return operands;
}

float scalar(const void *value, const char *name) {
    if (!value) refuse(CUBLAS_STATUS_INVALID_VALUE, "%s is NULL", name);
    return *(const float *)value;
}

/* Heuristics are for the device of the handle; products also need it to be the thread's and the stream's. */
void expect_handle(cublasLtHandle_t handle) {
    if (!handle) refuse(CUBLAS_STATUS_NOT_INITIALIZED, "the handle is NULL");
    emulator::expect_object(cublasLtContext::kind, handle);
}
void expect_device(cublasLtHandle_t handle, cudaStream_t stream) {
    int current = emulator::current_device();
    if (handle->device != current || emulator::device_of(stream) != current)
        refuse(CUBLAS_STATUS_INVALID_VALUE,
               "the handle is of device %d, the stream of %d, the thread's is %d", handle->device,
               emulator::device_of(stream), current);
}

} // namespace

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wanted_of, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int *returned) {
    return library::query<cublasStatus_t>(__func__, [&] {
        expect_handle(handle);
        product p = fit(op, a, b, c, d);
        const preference &wanted = value_of<preference>(wanted_of, "the preference");
        check_preference(wanted);
        if (requested < 1 || !results || !returned)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "no room for results: %d requested", requested);
        *returned = 0;
        for (int i = 0; i < algorithm_count && *returned < requested; i++)
            if (fits(algorithms[i], p, wanted)) results[(*returned)++] = result_of(i, p, wanted);
    });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, const void *alpha_at,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta_at, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                              cudaStream_t stream) {
    const char *name = __func__;
    return entry(name, [&] {
        expect_handle(handle);
        expect_device(handle, stream);
        product p = fit(op, a, b, c, d);
        memory_of m = {A, B, C, D, workspace, bytes};
        float alpha = scalar(alpha_at, "alpha"), beta = scalar(beta_at, "beta");
        chosen how = choice_of(algo, p);
        if (bytes < how.workspace)
            refuse(CUBLAS_STATUS_INVALID_VALUE, "a workspace of %zu bytes; the algorithm needs %zu", bytes,
                   (size_t)how.workspace);
        check_in_place(p, m);
        std::vector<library::operand> operands = operands_of(p, m, how);
        library::check_operands(CUBLAS_STATUS_INVALID_VALUE, stream, name, operands);
        int64_t run = algorithms[how.index].run;
        library::enqueue(CUBLAS_STATUS_EXECUTION_FAILED, stream, name, operands, [=] {
            library::scribble(m.workspace, m.workspace_bytes);
            multiply(p, run, alpha, m.a, m.b, beta, m.c, m.d);
        });
    });
}
