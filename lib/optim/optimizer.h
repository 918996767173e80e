/* Optimizers over the flat parameters of one block.
 *
 *     struct lam_optimizer *optimizer;
 *     LAM_TRY(lam_optimizer_create(&options, params, device, &optimizer));
 *     LAM_TRY(lam_optimizer_step(optimizer, learning_rate, step));     // after lam_program_run
 *
 * One fused pass over parameters, gradients and state; two ranges, with and without weight decay. State is
 * flat, in the parameters' layout, so that a checkpoint writes it by the parameters' names. SGD: PyTorch's
 * (buffer = momentum * buffer + g + decay * w; Nesterov uses g + momentum * buffer). AdamW: Loshchilov and
 * Hutter 2019; Adam: Kingma and Ba 2015 with L2 in the gradient.
 */
#ifndef LAM_OPTIM_OPTIMIZER_H
#define LAM_OPTIM_OPTIMIZER_H

#include "graph/params.h"

#define LAM_OPTIMIZER_TABLE(X)                                                                               \
    X(SGD, "sgd")                                                                                            \
    X(ADAM, "adam")                                                                                          \
    X(ADAMW, "adamw")

enum lam_optimizer_kind {
#define LAM_OPTIMIZER_ENUM(suffix, name) LAM_OPTIMIZER_##suffix,
    LAM_OPTIMIZER_TABLE(LAM_OPTIMIZER_ENUM)
#undef LAM_OPTIMIZER_ENUM
};

struct lam_optimizer_options {
    enum lam_optimizer_kind kind;
    float momentum;     /* SGD */
    bool nesterov;      /* SGD */
    float beta1, beta2; /* Adam, AdamW */
    float eps;          /* Adam, AdamW */
    float weight_decay;
    float clip_norm; /* gradients are scaled so that their global norm is at most this; 0 = off */
    float ema_decay; /* average of the weights kept beside them; 0 = off */
};
struct lam_optimizer_options lam_optimizer_default_options(enum lam_optimizer_kind kind);

struct lam_optimizer;
lam_status lam_optimizer_create(const struct lam_optimizer_options *options, struct lam_params *params,
                                struct lam_device *device, struct lam_optimizer **optimizer);
void lam_optimizer_destroy(struct lam_optimizer *optimizer);

/* Bytes of state for `params`, before anything is allocated. */
size_t lam_optimizer_bytes(const struct lam_optimizer_options *options, const struct lam_params *params);

/* Calls of the backend's flat-buffer functions in one update on a device of one lane: on a GPU, so many launches. */
int64_t lam_optimizer_calls(const struct lam_optimizer_options *options, const struct lam_params *params);

/* One update; `step` counts updates from 0. Where a gradient or parameter is not finite: LAM_ERR_NOT_FINITE
 * that names the first such tensor, and nothing is updated. (The check rides on the norm; costs one read.) */
lam_status lam_optimizer_step(struct lam_optimizer *optimizer, float learning_rate, uint64_t step);
float lam_optimizer_gradient_norm(
    const struct lam_optimizer *optimizer); /* of the last step, before clipping */

/* State arrays, for checkpoints: flat f32 device buffers as long as the parameters. Names: "momentum";
 * "exp_avg", "exp_avg_sq"; "ema". */
enum { LAM_OPTIMIZER_STATES = 3 }; /* at most */
/* The names of the states that an optimizer of these options has, in their order; returns how many. */
int lam_optimizer_state_names(const struct lam_optimizer_options *options,
                              const char *names[LAM_OPTIMIZER_STATES]);
int lam_optimizer_state_count(const struct lam_optimizer *optimizer);
const char *lam_optimizer_state_name(const struct lam_optimizer *optimizer, int state);
float *lam_optimizer_state(const struct lam_optimizer *optimizer, int state);

/* Exchanges the weights with their average, so that evaluation uses the average; call again to change back.
 */
lam_status lam_optimizer_swap_ema(struct lam_optimizer *optimizer);

#endif
