#include "train/evaluate.h"

static lam_status one_batch(const struct lam_evaluation *e, struct lam_loader *loader, bool *done) {
    struct lam_batch *batch;
    if (e->stop && e->stop()) return lam_fail(LAM_ERR_STOPPED, "stopped during evaluation");
    LAM_TRY(lam_loader_next(loader, &batch));
    *done = batch == NULL;
    if (!batch) return LAM_OK;
    lam_status status = lam_block_evaluate(e->block, batch, NULL);
    if (status == LAM_OK) status = e->task->eval_batch(e->state, e->block, batch);
    lam_loader_release(loader, batch);
    return status;
}

lam_status lam_evaluate(const struct lam_evaluation *evaluation, struct lam_score *scores, int *count) {
    const struct lam_task *task = evaluation->task;
    struct lam_loader_options options = {
        .batch = evaluation->batch,
        .count = task->samples(evaluation->state, LAM_SPLIT_VAL),
        .pad_last = true,
        .seed = (uint64_t)evaluation->config->seed,
        .threads = (int)evaluation->config->loader_threads,
        .prefetch = (int)evaluation->config->prefetch,
        .fill = task->fill_eval,
        .context = evaluation->state,
    };
    options.fields = task->eval_fields(evaluation->state, &options.field_count);
    struct lam_loader *loader;
    LAM_TRY(task->eval_begin(evaluation->state));
    LAM_TRY(lam_loader_create(&options, lam_block_device(evaluation->block), &loader));
    lam_status status = lam_loader_start(loader, 0, 0);
    for (bool done = false; status == LAM_OK && !done;) status = one_batch(evaluation, loader, &done);
    lam_loader_destroy(loader);
    return status == LAM_OK ? task->eval_end(evaluation->state, scores, count) : status;
}
