/* One pass over the validation data in evaluation mode. */
#ifndef LAM_TRAIN_EVALUATE_H
#define LAM_TRAIN_EVALUATE_H

#include "train/task.h"

struct lam_evaluation {
    const struct lam_task *task;
    void *state;
    struct lam_pipeline *pipeline; /* its `evaluated` hands each batch to the task's eval_batch */
    int batch;
    const struct lam_config *config;   /* loader_threads, prefetch, seed */
    bool (*stop)(const void *context); /* asked between batches; NULL: never */
    const void *context;
};

/* The loader lives only during the call, so evaluation needs no memory beside training's. The uneven last
 * batch is padded, and the padding ignored. LAM_ERR_STOPPED: stop() said so, in the first rank if there are several. The
 * scores are those of the head; *count is 0 in other ranks. */
lam_status lam_evaluate(const struct lam_evaluation *evaluation, struct lam_score *scores, int *count);

#endif
