#include "train/evaluate.h"

static void give_back(void *loader, struct lam_batch *batch) {
    lam_loader_release(loader, batch);
}

static lam_status stopped(void) {
    return lam_fail(LAM_ERR_STOPPED, "stopped during evaluation");
}

static lam_status one_batch(const struct lam_evaluation *e, struct lam_loader *loader, bool *done) {
    struct lam_batch *batch;
    LAM_TRY(lam_loader_next(loader, &batch));
    *done = batch == NULL;
    if (*done) return LAM_OK; /* behind the last batch other ranks expect no word of a stop */
    if (!e->stop || !e->stop(e->context)) return lam_pipeline_evaluate(e->pipeline, batch, give_back, loader);
    lam_loader_release(loader, batch);
    LAM_TRY(lam_pipeline_announce_stop(e->pipeline));
    return stopped();
}

/* In another rank than the first: as many batches as there are come by themselves. */
static lam_status expect_batches(const struct lam_evaluation *e) {
    int64_t batches = (e->task->samples(e->state, LAM_SPLIT_VAL) + e->batch - 1) / e->batch;
    for (int64_t i = 0; i < batches; i++) {
        LAM_TRY(lam_pipeline_evaluate(e->pipeline, NULL, NULL, NULL));
        if (!lam_pipeline_announced(e->pipeline)) continue;
        LAM_TRY(lam_pipeline_drain(e->pipeline));
        return stopped();
    }
    return lam_pipeline_drain(e->pipeline);
}

/* All batches; after an error nothing of the loader is in use any more. */
static lam_status all_batches(const struct lam_evaluation *e, struct lam_loader *loader) {
    lam_status status = lam_loader_start(loader, 0, 0);
    for (bool done = false; status == LAM_OK && !done;) status = one_batch(e, loader, &done);
    struct lam_error error;
    lam_error_save(&error, status);
    lam_status drained = lam_pipeline_drain(e->pipeline);
    if (drained != LAM_OK && status == LAM_OK) lam_error_save(&error, drained);
    if (drained != LAM_OK) lam_pipeline_stop(e->pipeline);
    return lam_error_restore(&error);
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
    struct lam_loader *loader = NULL;
    lam_status status;
    *count = 0;
    LAM_TRY(task->eval_begin(evaluation->state));
    if (lam_pipeline_local(evaluation->pipeline, 0)) {
        LAM_TRY(lam_loader_create(&options, lam_pipeline_stage(evaluation->pipeline, 0)->device, &loader));
        status = all_batches(evaluation, loader);
        lam_loader_destroy(loader);
    } else {
        status = expect_batches(evaluation);
    }
    if (status != LAM_OK || !lam_pipeline_head(evaluation->pipeline)) return status;
    return task->eval_end(evaluation->state, scores, count);
}
