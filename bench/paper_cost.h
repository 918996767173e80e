/* What an op costs on a GPU, counted: FLOPs, bytes, launches, and the time that these take at least.
 *
 * FLOPs are lam_op_flops. Bytes are those of the values as they are, without padding: a GPU takes the whole batch through
 * each op, so every kernel reads its inputs from memory and writes its outputs there, once; what kernels/cuda reads or
 * writes a second time (a bias gradient's sums, say), prepared weights and partial sums are counted as well. A kernel takes
 * max(FLOPs / rate, bytes / bandwidth). Weights are prepared, and sums added up and put into their order, by small work
 * that is launched together (kernels/cuda/bundle.h); how many such launches there are is the program's matter. Nothing is known
 * here of occupancy, of tiles that do not fill, or of the L2 cache.
 */
#ifndef LAMINA_BENCH_PAPER_COST_H
#define LAMINA_BENCH_PAPER_COST_H

#include "graph/program.h"
#include "optim/optimizer.h"

struct paper_gpu {
    double matrix_flops; /* per second, of convolutions and matrix products in the run's precision */
    double plain_flops;  /* in f32: of attention that is not in bf16 */
    double bytes;        /* per second */
    double launch;       /* seconds of the host for a kernel or copy that is launched by itself */
    double node;         /* seconds between two kernels, in a graph or not */
    double wait;         /* seconds until the host has noticed that the GPU is done */
};

struct paper_cost {
    int64_t ops;
    int64_t launches;       /* kernels and copies */
    int64_t bundles;        /* of them, of copies and sums together */
    int64_t copies;         /* in these, all of them */
    int64_t again_launches; /* of launches, for ops that are run again instead of being kept */
    double flops, bytes;
    double matrix_bytes;             /* of them, of ops that have FLOPs */
    double again_flops, again_bytes; /* of them, of ops that are run again */
    double seconds;                  /* of all kernels, one behind the other without a pause */
};

enum { PAPER_MOST_BUNDLED = 96 }; /* copies in a launch, as LAM_CUDA_MOST_BUNDLED */

/* Copies and sums of an op that go into bundles: before the program, of its weights, and behind its segment, of its sums. */
int paper_weight_copies(const struct lam_program_op *at);
int paper_sum_copies(const struct lam_program_op *at);
struct paper_cost paper_cost_of_bundles(int64_t copies);

struct paper_cost paper_cost_of_op(const struct lam_program_op *op, const struct paper_gpu *gpu);
/* The optimizer's pass, with the norm and the check of all values in front of it. */
struct paper_cost paper_cost_of_update(const struct lam_optimizer_options *options,
                                       const struct lam_params *params, const struct paper_gpu *gpu);
void paper_cost_add(struct paper_cost *sum, const struct paper_cost *cost);

/* Seconds of a run of kernels: recorded in a graph, or launched each by itself, where the host or the GPU is the slower. */
double paper_cost_seconds(const struct paper_cost *cost, const struct paper_gpu *gpu, bool recorded);

#endif
