#include "cuda_emulator/cublas_math.h"

#include <algorithm>

namespace emulator::cublas {

namespace {

/* op(M) as [k][count] in float, where `by_k` is the step in memory from one k to the next, `along` that within a row. */
std::vector<float> read(const layout &l, const void *memory, int64_t first, int64_t k, int64_t by_k,
                        int64_t count, int64_t along, bool tf32) {
    std::vector<float> to((size_t)(k * count));
    for (int64_t i = 0; i < k; i++)
        library::load(l.of(), memory, first + i * by_k, along, count, to.data() + i * count);
    if (tf32) library::round_to_tf32(to.data(), k * count);
    return to;
}

/* sum[j] = factors[0] rows[0][j] + ..., added up in runs; the rows are packed. */
void add_up(int64_t count, const library::terms &all, int64_t run, std::vector<float> &part, float *sum) {
    std::fill(sum, sum + count, 0.0f);
    for (int64_t first = 0; first < all.k; first += run) {
        part.assign((size_t)count, 0.0f);
        library::add_terms(part.data(), count,
                           {all.rows + first * all.row_step, all.row_step,
                            all.factors + first * all.factor_step, all.factor_step,
                            std::min(run, all.k - first)});
        library::add(sum, part.data(), count);
    }
}

} // namespace

void multiply(const product &p, int64_t run, float alpha, const void *a, const void *b, float beta,
              const void *c, void *d) {
    bool tf32 = p.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.a.of() == element::f32;
    const float one = 1.0f;
    bool ta = p.op.transa != CUBLAS_OP_N, tb = p.op.transb != CUBLAS_OP_N;
    std::vector<float> sum((size_t)p.m), bias((size_t)p.bias_count()), part, old((size_t)p.m);
    if (p.epilogue(CUBLASLT_EPILOGUE_BIAS)) library::load(p.d.of(), p.op.bias, 0, 1, p.m, bias.data());
    for (int64_t batch = 0; batch < p.d.batches; batch++) {
        std::vector<float> rows =
            read(p.a, a, batch * p.a.batch_offset, p.k, ta ? p.a.row_step() : p.a.col_step(), p.m,
                 ta ? p.a.col_step() : p.a.row_step(), tf32);
        std::vector<float> factors =
            read(p.b, b, batch * p.b.batch_offset, p.k, tb ? p.b.col_step() : p.b.row_step(), p.n,
                 tb ? p.b.row_step() : p.b.col_step(), tf32);
        for (int64_t j = 0; j < p.n; j++) {
            add_up(p.m, {rows.data(), p.m, factors.data() + j, p.n, p.k}, run, part, sum.data());
            for (float &s : sum) s *= alpha;
            if (beta != 0) {
                library::load(p.c.of(), c, batch * p.c.batch_offset + j * p.c.col_step(), p.c.row_step(), p.m,
                              old.data());
                for (size_t i = 0; i < sum.size(); i++) sum[i] += beta * old[i];
            }
            if (p.epilogue(CUBLASLT_EPILOGUE_BIAS)) library::add(sum.data(), bias.data(), p.m);
            library::store(p.d.of(), d, batch * p.d.batch_offset + j * p.d.col_step(), p.d.row_step(), p.m,
                           sum.data());
        }
        if (p.epilogue(CUBLASLT_EPILOGUE_BGRADA))
            add_up(p.m, {rows.data(), p.m, &one, 0, p.k}, run, part, bias.data());
        if (p.epilogue(CUBLASLT_EPILOGUE_BGRADB))
            add_up(p.n, {factors.data(), p.n, &one, 0, p.k}, run, part, bias.data());
    }
    if (p.gradient()) library::store(p.d.of(), (void *)p.op.bias, 0, 1, (int64_t)bias.size(), bias.data());
}

} // namespace emulator::cublas
