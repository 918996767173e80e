/* Loops that do nothing but fused multiply-adds in registers, or nothing but stream through memory, on every
 * lane. */
#include "bench/peak.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"

typedef float vec64 __attribute__((vector_size(64)));
typedef float vec32 __attribute__((vector_size(32)));

enum { CHAINS = 12 }; /* independent sums: more than latency times throughput of the multiply-add units */

static double keep; /* results go here, so that no loop is optimised away */

#define LANES(vec) (int)(sizeof(vec) / sizeof(float))
#define FMA_BODY(vec)                                                                                        \
    vec sum[CHAINS], a, b;                                                                                   \
    for (int i = 0; i < LANES(vec); i++) a[i] = 0.999f, b[i] = 1e-3f * (float)i;                             \
    for (int k = 0; k < CHAINS; k++) sum[k] = a + (float)k;                                                  \
    for (long r = 0; r < rounds; r++)                                                                        \
        for (int k = 0; k < CHAINS; k++) sum[k] = sum[k] * a + b;                                            \
    vec total = sum[0];                                                                                      \
    for (int k = 1; k < CHAINS; k++) total += sum[k];                                                        \
    return (double)total[0] + (double)total[LANES(vec) - 1];

#pragma GCC push_options
#pragma GCC optimize("O3", "unroll-loops", "fp-contract=fast")
__attribute__((target("avx512f"))) static double fma_avx512(long rounds) {
    FMA_BODY(vec64)
}
__attribute__((target("avx2,fma"))) static double fma_avx2(long rounds) {
    FMA_BODY(vec32)
}
static double fma_plain(long rounds) {
    FMA_BODY(vec32)
}
#pragma GCC pop_options

#include <immintrin.h>

__attribute__((target("avx512f,avx512bf16"))) static double dot_bf16(long rounds) {
    __m512 sum[CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3F7F);
    for (int k = 0; k < CHAINS; k++) sum[k] = _mm512_set1_ps((float)k);
    for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) sum[k] = _mm512_dpbf16_ps(sum[k], a, a);
    }
    __m512 total = sum[0];
    for (int k = 1; k < CHAINS; k++) total = _mm512_add_ps(total, sum[k]);
    return (double)_mm512_reduce_add_ps(total);
}

struct work {
    enum { FMA, BF16, TRIAD } kind;
    int lanes;
    long rounds;
    double results[256];
    float *memory; /* TRIAD: three arrays */
    size_t count;
};

static void triad(struct work *work, int lane) {
    size_t part = work->count / (size_t)work->lanes, begin = part * (size_t)lane;
    float *a = work->memory + begin, *b = a + work->count, *c = b + work->count;
    for (size_t i = 0; i < part; i++) a[i] = b[i] + 0.5f * c[i];
    work->results[lane] = (double)a[part / 2];
}

static void run(void *context, int lane) {
    struct work *work = context;
    if (work->kind == TRIAD)
        triad(work, lane);
    else if (work->kind == BF16)
        work->results[lane] = dot_bf16(work->rounds);
    else
        work->results[lane] = __builtin_cpu_supports("avx512f") ? fma_avx512(work->rounds)
                              : __builtin_cpu_supports("fma")   ? fma_avx2(work->rounds)
                                                                : fma_plain(work->rounds);
}

/* Least of some runs: what the machine does when it is left alone. */
static double least_seconds(struct lam_device *device, struct work *work, int runs) {
    double least = 1e30;
    for (int i = 0; i < runs; i++) {
        double start = lam_seconds();
        lam_device_backend(device)->run_lanes(lam_device_handle(device), run, work);
        double seconds = lam_seconds() - start;
        if (seconds < least) least = seconds;
    }
    keep += work->results[0];
    return least;
}

lam_status peak_measure(struct lam_device *device, struct peak *peak) {
    struct work *work = calloc(1, sizeof *work);
    if (!work) return lam_no_memory();
    work->lanes = lam_device_lanes(device);
    work->rounds = 1 << 20;
    double per_run = (double)work->rounds * CHAINS * 2 * work->lanes;
    work->kind = FMA;
    int floats = __builtin_cpu_supports("avx512f") ? LANES(vec64) : LANES(vec32);
    peak->f32_flops = per_run * floats / least_seconds(device, work, 5);
    peak->bf16_flops = peak->f32_flops;
    if (__builtin_cpu_supports("avx512bf16")) {
        work->kind = BF16; /* 32 products an instruction */
        peak->bf16_flops = per_run * 32 / least_seconds(device, work, 5);
    }
    work->kind = TRIAD;
    work->count = (size_t)16 << 20; /* 64 MiB an array: past every cache */
    work->memory = malloc(3 * work->count * sizeof *work->memory);
    if (!work->memory) {
        free(work);
        return lam_no_memory();
    }
    memset(work->memory, 0, 3 * work->count * sizeof *work->memory);
    peak->bytes = 3.0 * (double)work->count * sizeof(float) / least_seconds(device, work, 4);
    free(work->memory);
    free(work);
    return LAM_OK;
}
