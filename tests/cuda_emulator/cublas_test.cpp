/* The emulated cuBLASLt against plain sums in double, and everything that it must refuse. */
#include "cuda_emulator/libraries_test.h"

#include <functional>

#include <cublasLt.h>

namespace {

using values = std::vector<double>;

/* One matrix, or several: as numbers in rows, and in memory. */
struct matrix {
    matrix(element type_, int rows_, int cols_, int ld_, int batches_, cublasLtOrder_t order_, uint64_t seed)
        : type(type_), rows(rows_), cols(cols_), ld(ld_), batches(batches_), order(order_),
          offset(ld * (order == CUBLASLT_ORDER_COL ? cols : rows) + 8),
          numbers(random_values(type, (size_t)(batches * rows * cols), seed)),
          memory((size_t)(offset * batches) * size_of(type)) {
        WORKS(cublasLtMatrixLayoutCreate(&layout, data_type(), (uint64_t)rows, (uint64_t)cols, ld));
        int32_t order_value = order, count = batches;
        int64_t apart = offset;
        WORKS(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &order_value, 4));
        WORKS(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, 4));
        WORKS(
            cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart, 8));
        reset();
    }
    matrix(const matrix &) = delete;
    ~matrix() {
        if (layout) cublasLtMatrixLayoutDestroy(layout);
    }

    cudaDataType_t data_type() const { return type == element::f32 ? CUDA_R_32F : CUDA_R_16BF; }
    size_t place(int batch, int i, int j) const {
        return (size_t)(batch * offset + (order == CUBLASLT_ORDER_COL ? j * ld + i : i * ld + j));
    }
    size_t index(int batch, int i, int j) const { return (size_t)((batch * rows + i) * cols + j); }
    template <typename F> void for_each(F use) const {
        for (int b = 0; b < batches; b++)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < cols; j++) use(index(b, i, j), place(b, i, j));
    }
    /* Memory holds the numbers, and NaN in the gaps. */
    void reset() {
        values all(memory.bytes / size_of(type), NAN);
        for_each([&](size_t from, size_t to) { all[to] = numbers[from]; });
        memory.write(type, all);
    }
    values read() const {
        values all = memory.read(type), dense(numbers.size());
        for_each([&](size_t to, size_t from) { dense[to] = all[from]; });
        return dense;
    }

    const element type;
    const int rows, cols, ld, batches;
    const cublasLtOrder_t order;
    const int offset;
    values numbers;
    buffer memory;
    cublasLtMatrixLayout_t layout = nullptr;
};

struct shape {
    int m, n, k;
    bool ta, tb;
    int batches;
    int gap; /* elements between columns */
    cublasLtOrder_t order;
};
const shape plain = {24, 16, 40, false, false, 1, 0, CUBLASLT_ORDER_COL};

const float one = 1, zero = 0;

struct setup {
    setup(const shape &s_, element in, element out, cublasComputeType_t compute)
        : s(s_), a(in, s.ta ? s.k : s.m, s.ta ? s.m : s.k, ld(s.ta ? s.k : s.m, s.ta ? s.m : s.k), s.batches,
                   s.order, 1),
          b(in, s.tb ? s.n : s.k, s.tb ? s.k : s.n, ld(s.tb ? s.n : s.k, s.tb ? s.k : s.n), s.batches,
            s.order, 2),
          c(out, s.m, s.n, ld(s.m, s.n), s.batches, s.order, 3),
          d(out, s.m, s.n, ld(s.m, s.n), s.batches, s.order, 4), workspace(1 << 20) {
        WORKS(cublasLtCreate(&handle));
        WORKS(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        WORKS(cublasLtMatmulDescCreate(&op, compute, CUDA_R_32F));
        WORKS(cublasLtMatmulPreferenceCreate(&preference));
        set(CUBLASLT_MATMUL_DESC_TRANSA, s.ta ? CUBLAS_OP_T : CUBLAS_OP_N);
        set(CUBLASLT_MATMUL_DESC_TRANSB, s.tb ? CUBLAS_OP_T : CUBLAS_OP_N);
        allow(workspace.bytes);
    }
    setup(const setup &) = delete;
    ~setup() {
        cudaStreamSynchronize(stream);
        cublasLtMatmulPreferenceDestroy(preference);
        if (op) cublasLtMatmulDescDestroy(op);
        cudaStreamDestroy(stream);
        cublasLtDestroy(handle);
    }
    int ld(int rows, int cols) const { return (s.order == CUBLASLT_ORDER_COL ? rows : cols) + s.gap; }

    void set(cublasLtMatmulDescAttributes_t attribute, int value) {
        int32_t v = value;
        WORKS(cublasLtMatmulDescSetAttribute(op, attribute, &v, sizeof v));
    }
    void set_epilogue(cublasLtEpilogue_t epilogue, const void *bias) {
        set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        WORKS(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    }
    void allow(uint64_t bytes) {
        WORKS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                   &bytes, 8));
    }
    void align(uint32_t bytes) {
        for (auto attribute :
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
              CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            WORKS(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &bytes, 4));
    }

    cublasStatus_t ask(std::vector<cublasLtMatmulHeuristicResult_t> &results) {
        results.resize(8);
        int count = -1;
        cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
            handle, op, a.layout, b.layout, c.layout, d.layout, preference, 8, results.data(), &count);
        results.resize(status == CUBLAS_STATUS_SUCCESS ? (size_t)count : 0);
        return status;
    }
    std::vector<cublasLtMatmulHeuristicResult_t> algorithms() {
        std::vector<cublasLtMatmulHeuristicResult_t> results;
        WORKS(ask(results));
        return results;
    }

    /* D, or C in place; with the algorithm's workspace and not a byte more. */
    cublasStatus_t run(const cublasLtMatmulHeuristicResult_t *how, const float *alpha = &one,
                       const float *beta = &zero, bool in_place = false) {
        matrix &to = in_place ? c : d;
        return cublasLtMatmul(handle, op, alpha, a.memory.memory, a.layout, b.memory.memory, b.layout, beta,
                              c.memory.memory, c.layout, to.memory.memory, to.layout,
                              how ? &how->algo : nullptr, workspace.memory, how ? how->workspaceSize : 0,
                              stream);
    }
    void wait() { WORKS(cudaStreamSynchronize(stream)); }

    /* alpha op(A) op(B) + beta C, by rows. */
    values product(bool tf32, double alpha = 1, double beta = 0) const {
        values sums((size_t)(s.batches * s.m * s.n));
        values an = tf32 ? rounded_to_tf32(a.numbers) : a.numbers,
               bn = tf32 ? rounded_to_tf32(b.numbers) : b.numbers;
        for (int batch = 0; batch < s.batches; batch++)
            for (int i = 0; i < s.m; i++)
                for (int j = 0; j < s.n; j++) {
                    double sum = 0;
                    for (int k = 0; k < s.k; k++)
                        sum += an[s.ta ? a.index(batch, k, i) : a.index(batch, i, k)] *
                               bn[s.tb ? b.index(batch, j, k) : b.index(batch, k, j)];
                    sums[d.index(batch, i, j)] = alpha * sum + beta * c.numbers[c.index(batch, i, j)];
                }
        return sums;
    }

    const shape s;
    matrix a, b, c, d;
    buffer workspace;
    cublasLtHandle_t handle;
    cudaStream_t stream;
    cublasLtMatmulDesc_t op;
    cublasLtMatmulPreference_t preference;
};

#define REFUSED(expected_status, t, call)                                                                    \
    do {                                                                                                     \
        (t).wait();                                                                                          \
        long work_before = work_done();                                                                      \
        cublasStatus_t got = (call);                                                                         \
        if (got != (expected_status))                                                                        \
            fprintf(stderr, "%s:%d: %s, not %s\n", __FILE__, __LINE__, cublasLtGetStatusName(got),           \
                    cublasLtGetStatusName(expected_status));                                                 \
        CHECK(got == (expected_status));                                                                     \
        cublasLtGetStatusString(got);                                                                        \
        (t).wait();                                                                                          \
        CHECK(work_done() == work_before);                                                                   \
    } while (0)

const cublasStatus_t invalid = CUBLAS_STATUS_INVALID_VALUE, unsupported = CUBLAS_STATUS_NOT_SUPPORTED;

/* ---- numbers ---- */

void numbers_of(element in, element out, cublasComputeType_t compute) {
    bool tf32 = in == element::f32 && compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const float half = 0.5f, minus = -3;
    for (cublasLtOrder_t order : {CUBLASLT_ORDER_COL, CUBLASLT_ORDER_ROW})
        for (int transposes = 0; transposes < 4; transposes++)
            for (shape s :
                 {shape{5, 7, 9, false, false, 1, 3, order}, shape{24, 16, 1300, false, false, 1, 0, order},
                  shape{6, 3, 11, false, false, 3, 2, order}}) {
                s.ta = transposes & 1, s.tb = transposes & 2;
                setup t(s, in, out, compute);
                CHECK(t.algorithms().size() == 3);
                for (const cublasLtMatmulHeuristicResult_t &how : t.algorithms()) {
                    CHECK(how.state == CUBLAS_STATUS_SUCCESS);
                    t.c.memory.fill(0xFF), t.d.memory.fill(0xFF); /* beta = 0: neither is read */
                    WORKS(t.run(&how));
                    t.wait();
                    CHECK(difference(t.d.read(), t.product(tf32)) < tolerance(out));
                    t.c.reset();
                    WORKS(t.run(&how, &half, &minus));
                    WORKS(t.run(&how, &half, &minus, true));
                    t.wait();
                    CHECK(difference(t.d.read(), t.product(tf32, 0.5, -3)) < tolerance(out));
                    CHECK(difference(t.c.read(), t.product(tf32, 0.5, -3)) < tolerance(out));
                }
                WORKS(t.run(nullptr));
                t.wait();
                CHECK(difference(t.d.read(), t.product(tf32)) < tolerance(out));
            }
}

void float_numbers() {
    numbers_of(element::f32, element::f32, CUBLAS_COMPUTE_32F);
}
void tf32_numbers() {
    numbers_of(element::f32, element::f32, CUBLAS_COMPUTE_32F_FAST_TF32);
}
void bf16_numbers() {
    numbers_of(element::bf16, element::bf16, CUBLAS_COMPUTE_32F);
    numbers_of(element::bf16, element::f32, CUBLAS_COMPUTE_32F_FAST_TF32);
}

void compute_type_shows() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F_FAST_TF32);
    WORKS(t.run(nullptr));
    t.wait();
    double off = difference(t.d.read(), t.product(false));
    CHECK(off > 2e-5 && off < 2e-3);
}

void epilogues() {
    for (element type : {element::f32, element::bf16}) {
        setup t(plain, type, type, CUBLAS_COMPUTE_32F);
        values bias_values = random_values(type, (size_t)t.s.m, 7), sums = t.product(false);
        buffer bias(type, bias_values), gradient_a((size_t)t.s.m * size_of(type)),
            gradient_b((size_t)t.s.n * size_of(type));
        t.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type == element::f32 ? CUDA_R_32F : CUDA_R_16BF);
        t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.memory);
        WORKS(t.run(&t.algorithms()[0]));
        t.wait();
        for (int i = 0; i < t.s.m; i++)
            for (int j = 0; j < t.s.n; j++) sums[t.d.index(0, i, j)] += bias_values[(size_t)i];
        CHECK(difference(t.d.read(), sums) < tolerance(type));

        values of_a((size_t)t.s.m), of_b((size_t)t.s.n);
        for (int k = 0; k < t.s.k; k++) {
            for (int i = 0; i < t.s.m; i++) of_a[(size_t)i] += t.a.numbers[t.a.index(0, i, k)];
            for (int j = 0; j < t.s.n; j++) of_b[(size_t)j] += t.b.numbers[t.b.index(0, k, j)];
        }
        t.set_epilogue(CUBLASLT_EPILOGUE_BGRADA, gradient_a.memory);
        WORKS(t.run(&t.algorithms()[0]));
        t.set_epilogue(CUBLASLT_EPILOGUE_BGRADB, gradient_b.memory);
        WORKS(t.run(&t.algorithms()[1]));
        t.wait();
        CHECK(difference(t.d.read(), t.product(false)) < tolerance(type));
        CHECK(difference(gradient_a.read(type), of_a) < tolerance(type));
        CHECK(difference(gradient_b.read(type), of_b) < tolerance(type));
    }
}

void descriptors_are_copied() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    WORKS(t.run(nullptr));
    for (matrix *m : {&t.a, &t.b, &t.c, &t.d}) {
        WORKS(cublasLtMatrixLayoutDestroy(m->layout));
        m->layout = nullptr;
    }
    WORKS(cublasLtMatmulDescDestroy(t.op));
    t.op = nullptr;
    t.wait();
    CHECK(difference(t.d.read(), t.product(false)) < 2e-6);
}

/* The ...Init variants, in the caller's memory. */
void descriptors_of_the_caller() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    cublasLtMatrixLayoutOpaque_t a, b, d;
    cublasLtMatmulDescOpaque_t op;
    cublasLtMatmulPreferenceOpaque_t preference;
    WORKS(cublasLtMatrixLayoutInit(&a, CUDA_R_32F, 24, 40, 24));
    WORKS(cublasLtMatrixLayoutInit(&b, CUDA_R_32F, 40, 16, 40));
    WORKS(cublasLtMatrixLayoutInit(&d, CUDA_R_32F, 24, 16, 24));
    WORKS(cublasLtMatmulDescInit(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    WORKS(cublasLtMatmulPreferenceInit(&preference));
    cublasLtMatmulHeuristicResult_t how;
    int count;
    WORKS(cublasLtMatmulAlgoGetHeuristic(t.handle, &op, &a, &b, &d, &d, &preference, 1, &how, &count));
    CHECK(count == 1 && how.workspaceSize == 0); /* by default no workspace is allowed */
    void *to = t.d.memory.memory;
    WORKS(cublasLtMatmul(t.handle, &op, &one, t.a.memory.memory, &a, t.b.memory.memory, &b, &zero, to, &d, to,
                         &d, &how.algo, nullptr, 0, t.stream));
    t.wait();
    CHECK(difference(t.d.read(), t.product(false)) < 2e-6);
}

/* ---- algorithms ---- */

void heuristics() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    std::vector<cublasLtMatmulHeuristicResult_t> all = t.algorithms();
    CHECK(all.size() == 3);
    CHECK(all[0].workspaceSize != all[1].workspaceSize && all[1].workspaceSize > 0 &&
          all[2].workspaceSize == 0);
    t.allow(all[0].workspaceSize - 1);
    CHECK(t.algorithms().size() == 1);
    t.allow(1 << 20);
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
    WORKS(cublasLtMatmulPreferenceSetAttribute(t.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                               &reductions, 4));
    CHECK(t.algorithms().size() == 2);
    t.align(4);
    CHECK(t.algorithms().size() == 1);
    t.align(256);
    buffer bias((size_t)t.s.m * 4);
    t.set_epilogue(CUBLASLT_EPILOGUE_BGRADA, bias.memory);
    t.allow(0);
    CHECK(t.algorithms().empty()); /* gradients of a bias need a workspace */
    REFUSED(unsupported, t, t.run(nullptr));
    t.allow(1 << 20);
    t.align(3);
    std::vector<cublasLtMatmulHeuristicResult_t> none;
    REFUSED(invalid, t, t.ask(none));
    t.align(256);
    uint32_t mode = CUBLASLT_SEARCH_LIMITED_BY_ALGO_ID;
    WORKS(cublasLtMatmulPreferenceSetAttribute(t.preference, CUBLASLT_MATMUL_PREF_SEARCH_MODE, &mode, 4));
    REFUSED(unsupported, t, t.ask(none));
}

/* Algorithms sum in different orders. */
void algorithms_differ() {
    setup t({24, 16, 1300, false, false, 1, 0, CUBLASLT_ORDER_COL}, element::f32, element::f32,
            CUBLAS_COMPUTE_32F);
    std::vector<cublasLtMatmulHeuristicResult_t> all = t.algorithms();
    WORKS(t.run(&all[0]));
    t.wait();
    values first = t.d.read();
    WORKS(t.run(&all[2]));
    t.wait();
    CHECK(difference(t.d.read(), first) > 0);
    WORKS(t.run(&all[0]));
    t.wait();
    CHECK(difference(t.d.read(), first) == 0);
}

void workspace_is_scribbled_on() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    cublasLtMatmulHeuristicResult_t how = t.algorithms()[0];
    t.workspace.fill(0);
    WORKS(t.run(&how));
    t.wait();
    std::vector<unsigned char> bytes = t.workspace.raw();
    for (size_t i = 0; i < bytes.size(); i++) CHECK(bytes[i] == (i < how.workspaceSize ? 0xFF : 0));
}

/* ---- what is refused ---- */

/* Both the heuristics and the product refuse; `undo` makes it right again. */
void refused_for(setup &t, cublasStatus_t status, const std::function<void()> &spoil,
                 const std::function<void()> &undo) {
    std::vector<cublasLtMatmulHeuristicResult_t> none;
    spoil();
    REFUSED(status, t, t.ask(none));
    REFUSED(status, t, t.run(nullptr));
    undo();
    WORKS(t.run(nullptr));
}

template <typename T>
void refused_layout(setup &t, cublasStatus_t status, matrix &m, cublasLtMatrixLayoutAttribute_t attribute,
                    T bad, T good) {
    refused_for(
        t, status, [&] { WORKS(cublasLtMatrixLayoutSetAttribute(m.layout, attribute, &bad, sizeof bad)); },
        [&] { WORKS(cublasLtMatrixLayoutSetAttribute(m.layout, attribute, &good, sizeof good)); });
}

void bad_layouts() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    const shape s = t.s;
    refused_layout<int64_t>(t, invalid, t.a, CUBLASLT_MATRIX_LAYOUT_LD, s.m - 1, s.m);
    refused_layout<int64_t>(t, invalid, t.d, CUBLASLT_MATRIX_LAYOUT_LD, s.m - 1, s.m);
    refused_layout<uint64_t>(t, invalid, t.a, CUBLASLT_MATRIX_LAYOUT_COLS, 39, 40);
    refused_layout<uint64_t>(t, invalid, t.b, CUBLASLT_MATRIX_LAYOUT_COLS, 15, 16);
    refused_layout<uint64_t>(t, invalid, t.c, CUBLASLT_MATRIX_LAYOUT_ROWS, 23, 24);
    refused_layout<uint64_t>(t, invalid, t.d, CUBLASLT_MATRIX_LAYOUT_ROWS, 0, 24);
    refused_layout<uint32_t>(t, unsupported, t.b, CUBLASLT_MATRIX_LAYOUT_TYPE, CUDA_R_16BF, CUDA_R_32F);
    refused_layout<uint32_t>(t, unsupported, t.d, CUBLASLT_MATRIX_LAYOUT_TYPE, CUDA_R_16BF, CUDA_R_32F);
    refused_layout<uint32_t>(t, unsupported, t.a, CUBLASLT_MATRIX_LAYOUT_TYPE, CUDA_R_64F, CUDA_R_32F);
    refused_layout<int32_t>(t, unsupported, t.a, CUBLASLT_MATRIX_LAYOUT_ORDER, CUBLASLT_ORDER_COL32,
                            CUBLASLT_ORDER_COL);
    refused_layout<int32_t>(t, invalid, t.a, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 2, 1);
    refused_layout<int32_t>(t, invalid, t.a, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 0, 1);
    setup square({8, 8, 8, false, false, 2, 0, CUBLASLT_ORDER_COL}, element::f32, element::f32,
                 CUBLAS_COMPUTE_32F);
    refused_layout<int32_t>(square, unsupported, square.b, CUBLASLT_MATRIX_LAYOUT_ORDER, CUBLASLT_ORDER_ROW,
                            CUBLASLT_ORDER_COL);
    refused_layout<int64_t>(square, invalid, square.d, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, 63, 72);
}

void bad_operations() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    auto set = [&](cublasLtMatmulDescAttributes_t attribute, int value) {
        return [&t, attribute, value] { t.set(attribute, value); };
    };
    buffer bias((size_t)t.s.m * 4);
    refused_for(t, invalid, set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T),
                set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N));
    refused_for(t, invalid, set(CUBLASLT_MATMUL_DESC_TRANSB, 77),
                set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N));
    refused_for(t, unsupported, set(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, CUBLAS_COMPUTE_64F),
                set(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, CUBLAS_COMPUTE_32F));
    refused_for(t, unsupported, set(CUBLASLT_MATMUL_DESC_SCALE_TYPE, CUDA_R_64F),
                set(CUBLASLT_MATMUL_DESC_SCALE_TYPE, CUDA_R_32F));
    refused_for(t, unsupported, set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU_BIAS),
                set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT));
    t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.memory);
    refused_for(t, unsupported, set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF),
                set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, -1));
    t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, nullptr);
    REFUSED(invalid, t, t.run(nullptr));
    setup batched({8, 8, 8, false, false, 2, 0, CUBLASLT_ORDER_COL}, element::f32, element::f32,
                  CUBLAS_COMPUTE_32F);
    std::vector<cublasLtMatmulHeuristicResult_t> none;
    batched.set_epilogue(CUBLASLT_EPILOGUE_BGRADA, bias.memory);
    REFUSED(unsupported, batched, batched.ask(none));
    setup by_rows({8, 8, 8, false, false, 1, 0, CUBLASLT_ORDER_ROW}, element::f32, element::f32,
                  CUBLAS_COMPUTE_32F);
    by_rows.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.memory);
    REFUSED(unsupported, by_rows, by_rows.ask(none));
    setup mixed(plain, element::f32, element::bf16, CUBLAS_COMPUTE_32F);
    REFUSED(unsupported, mixed, mixed.ask(none));
}

void bad_attributes() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    int64_t eight = 8;
    REFUSED(invalid, t, cublasLtMatmulDescSetAttribute(t.op, CUBLASLT_MATMUL_DESC_TRANSA, &eight, 8));
    REFUSED(invalid, t, cublasLtMatmulDescSetAttribute(t.op, CUBLASLT_MATMUL_DESC_TRANSA, nullptr, 4));
    REFUSED(invalid, t, cublasLtMatmulDescSetAttribute(t.op, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &eight, 1));
    REFUSED(invalid, t, cublasLtMatrixLayoutSetAttribute(t.a.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &eight, 4));
    REFUSED(invalid, t, cublasLtMatrixLayoutSetAttribute(nullptr, CUBLASLT_MATRIX_LAYOUT_ROWS, &eight, 8));
    REFUSED(invalid, t,
            cublasLtMatrixLayoutSetAttribute((cublasLtMatrixLayout_t)t.op, CUBLASLT_MATRIX_LAYOUT_ROWS,
                                             &eight, 8));
    REFUSED(
        invalid, t,
        cublasLtMatmulPreferenceSetAttribute(t.preference, CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT, &eight, 4));
    REFUSED(invalid, t, cublasLtMatmulDescCreate(nullptr, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    cublasLtMatrixLayoutOpaque_t room;
    REFUSED(CUBLAS_STATUS_ALLOC_FAILED, t, cublasLtMatrixLayoutInit_internal(&room, 32, CUDA_R_32F, 1, 1, 1));
}

void bad_arguments() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    t.align(16);
    cublasLtMatmulHeuristicResult_t how = t.algorithms()[0];
    void *a = t.a.memory.memory, *b = t.b.memory.memory, *c = t.c.memory.memory, *d = t.d.memory.memory;
    void *room = t.workspace.memory;
    size_t need = how.workspaceSize;
    auto run = [&](const void *am, const void *cm, void *dm, const float *alpha, void *workspace,
                   size_t bytes) {
        return cublasLtMatmul(t.handle, t.op, alpha, am, t.a.layout, b, t.b.layout, &zero, cm, t.c.layout, dm,
                              t.d.layout, &how.algo, workspace, bytes, t.stream);
    };
    WORKS(run(a, c, d, &one, room, need));
    REFUSED(invalid, t, run(a, c, d, nullptr, room, need));
    REFUSED(invalid, t, run(nullptr, c, d, &one, room, need));
    REFUSED(invalid, t, run(a, nullptr, d, &one, room, need));
    REFUSED(invalid, t, run(a, c, nullptr, &one, room, need));
    REFUSED(invalid, t, run(a, c, d, &one, room, need - 1));
    REFUSED(invalid, t, run(a, c, d, &one, nullptr, need));
    REFUSED(invalid, t, run(a, c, d, &one, t.workspace.at(128), need));
    REFUSED(invalid, t, run(t.a.memory.at(8), c, d, &one, room, need));
    REFUSED(invalid, t, run(a, c, t.d.memory.at(4), &one, room, need));
    REFUSED(invalid, t, run(a, c, a, &one, room, need));
    REFUSED(invalid, t, run(a, t.d.memory.at(16), d, &one, room, need));
    t.align(256);
    how = t.algorithms()[0];
    REFUSED(invalid, t, run(t.a.memory.at(16), c, d, &one, room, need));
    cublasLtMatmulHeuristicResult_t garbage = {};
    REFUSED(invalid, t, t.run(&garbage));
    int count;
    REFUSED(invalid, t,
            cublasLtMatmulAlgoGetHeuristic(t.handle, t.op, t.a.layout, t.b.layout, t.c.layout, t.d.layout,
                                           t.preference, 0, &how, &count));
    REFUSED(invalid, t,
            cublasLtMatmulAlgoGetHeuristic(t.handle, t.op, t.a.layout, t.b.layout, t.c.layout, t.d.layout,
                                           nullptr, 1, &how, &count));
    REFUSED(CUBLAS_STATUS_NOT_INITIALIZED, t,
            cublasLtMatmulAlgoGetHeuristic(nullptr, t.op, t.a.layout, t.b.layout, t.c.layout, t.d.layout,
                                           t.preference, 1, &how, &count));
}

/* An algorithm is for one product only, and for a bias aligned as the one that the heuristics saw; NULL counts as 256. */
void algorithms_of_other_products() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    setup other({24, 16, 48, false, false, 1, 0, CUBLASLT_ORDER_COL}, element::f32, element::f32,
                CUBLAS_COMPUTE_32F);
    cublasLtMatmulHeuristicResult_t how = t.algorithms()[0];
    REFUSED(invalid, other, other.run(&how));
    buffer bias((size_t)t.s.m * 4 + 16);
    t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, nullptr);
    how = t.algorithms()[0];
    t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.at(16));
    REFUSED(invalid, t, t.run(&how));
    how = t.algorithms()[0];
    WORKS(t.run(&how));
    t.wait();
    int64_t ld = t.s.m + 1;
    setup in_place(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    WORKS(cublasLtMatrixLayoutSetAttribute(in_place.d.layout, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof ld));
    REFUSED(invalid, in_place,
            cublasLtMatmul(in_place.handle, in_place.op, &one, in_place.a.memory.memory, in_place.a.layout,
                           in_place.b.memory.memory, in_place.b.layout, &zero, in_place.d.memory.memory,
                           in_place.c.layout, in_place.d.memory.memory, in_place.d.layout, nullptr, nullptr,
                           0, in_place.stream));
}

/* ---- devices ---- */

void another_device() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    WORKS(cudaSetDevice(1));
    CHECK(t.run(nullptr) == invalid);
    cublasLtGetStatusName(invalid);
    WORKS(cudaSetDevice(0));
    WORKS(t.run(nullptr));
    t.wait();
}

void dead_handle() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    WORKS(cublasLtDestroy(t.handle));
    t.run(nullptr);
}
void dead_layout() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    WORKS(cublasLtMatrixLayoutDestroy(t.a.layout));
    cublasLtMatrixLayoutDestroy(t.a.layout);
}
void short_memory() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    int64_t ld = 4096;
    WORKS(cublasLtMatrixLayoutSetAttribute(t.b.layout, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof ld));
    t.run(nullptr);
}
void short_bias() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    buffer bias(4);
    t.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias.memory);
    t.run(&t.algorithms()[0]);
}
void leaked_layout() {
    cublasLtMatrixLayout_t layout;
    WORKS(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 1, 1, 1));
}
void ignored_failure() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    t.run(nullptr, nullptr);
    t.run(nullptr);
}

/* ---- failures on order ---- */

void told_to_fail() {
    setup t(plain, element::f32, element::f32, CUBLAS_COMPUTE_32F);
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t layout;
    cublasLtMatmulPreference_t preference;
    std::vector<cublasLtMatmulHeuristicResult_t> none;
    int32_t n = CUBLAS_OP_N;
    struct {
        const char *name;
        std::function<cublasStatus_t()> call;
        cublasStatus_t status;
    } calls[] = {
        {"cublasLtCreate", [&] { return cublasLtCreate(&handle); }, CUBLAS_STATUS_ALLOC_FAILED},
        {"cublasLtMatmulDescCreate",
         [&] { return cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F); },
         CUBLAS_STATUS_ALLOC_FAILED},
        {"cublasLtMatrixLayoutCreate",
         [&] { return cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 1, 1, 1); },
         CUBLAS_STATUS_ALLOC_FAILED},
        {"cublasLtMatmulPreferenceCreate", [&] { return cublasLtMatmulPreferenceCreate(&preference); },
         CUBLAS_STATUS_ALLOC_FAILED},
        {"cublasLtMatmulDescSetAttribute",
         [&] { return cublasLtMatmulDescSetAttribute(t.op, CUBLASLT_MATMUL_DESC_TRANSA, &n, 4); },
         CUBLAS_STATUS_EXECUTION_FAILED},
        {"cublasLtMatmulAlgoGetHeuristic", [&] { return t.ask(none); }, CUBLAS_STATUS_EXECUTION_FAILED},
        {"cublasLtMatmul", [&] { return t.run(nullptr); }, CUBLAS_STATUS_EXECUTION_FAILED},
    };
    for (auto &c : calls) {
        emulator_fail(c.name, 1);
        REFUSED(c.status, t, c.call());
    }
    WORKS(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 1, 1, 1));
    emulator_fail("cublasLtMatrixLayoutDestroy", 1);
    CHECK(cublasLtMatrixLayoutDestroy(layout) == CUBLAS_STATUS_EXECUTION_FAILED); /* and it is gone */
}

void the_library() {
    CHECK(cublasLtGetVersion() == CUBLAS_VERSION);
    CHECK(strcmp(cublasLtGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED), "CUBLAS_STATUS_NOT_SUPPORTED") == 0);
    CHECK(strlen(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE)) > 0);
    WORKS(cublasLtMatrixLayoutDestroy(nullptr));
}

} // namespace

int main() {
    expect_success("cublas: library", the_library);
    expect_success("cublas: float", float_numbers);
    expect_success("cublas: tf32", tf32_numbers);
    expect_success("cublas: bf16", bf16_numbers);
    expect_success("cublas: compute type shows", compute_type_shows);
    expect_success("cublas: epilogues", epilogues);
    expect_success("cublas: descriptors are copied", descriptors_are_copied);
    expect_success("cublas: descriptors of the caller", descriptors_of_the_caller);
    expect_success("cublas: heuristics", heuristics);
    expect_success("cublas: algorithms differ", algorithms_differ);
    expect_success("cublas: workspace", workspace_is_scribbled_on);
    expect_success("cublas: bad layouts", bad_layouts);
    expect_success("cublas: bad operations", bad_operations);
    expect_success("cublas: bad attributes", bad_attributes);
    expect_success("cublas: bad arguments", bad_arguments);
    expect_success("cublas: algorithms of other products", algorithms_of_other_products);
    expect_success("cublas: another device", another_device);
    expect_success("cublas: told to fail", told_to_fail);
    expect_abort("cublas: dead handle", dead_handle, "cublasLtHandle_t");
    expect_abort("cublas: dead layout", dead_layout, "cublasLtMatrixLayout_t");
    expect_abort("cublas: short memory", short_memory, "cublasLtMatmul: B");
    expect_abort("cublas: short bias", short_bias, "cublasLtMatmul: the bias");
    expect_abort("cublas: ignored failure", ignored_failure, "ignored error of cublasLtMatmul");
    expect_exit("cublas: leaked layout", leaked_layout, EXIT_LEAKED, "cublasLtMatrixLayout_t");
    return test_result();
}
