/* Going on with a run: what its folder holds, whether what is asked for now lies ahead, and whether the data is
 * still the same. */
#include <stdlib.h>

#include "base/files.h"
#include "train/run_internal.h"

/* ---- where it stands ---- */

/* The checkpoint to go on from; none was written yet: from the beginning. */
static lam_status open_checkpoint(struct run *run) {
    if (!lam_path_exists(run->last_path)) return LAM_OK;
    LAM_TRY(lam_checkpoint_open(run->last_path, &run->from));
    return lam_snapshot_position(run->from, &run->at);
}

static lam_status check_reach(const struct run *run) {
    const struct lam_position *at = &run->at;
    uint64_t epochs = (uint64_t)run->config->epochs, steps = (uint64_t)run->config->max_steps;
    if (steps && at->step > steps)
        return lam_fail(LAM_ERR_INVALID,
                        "the run stands at step %llu, past --max-steps %llu; give a larger one or 0",
                        (unsigned long long)at->step, (unsigned long long)steps);
    if (at->epoch > epochs || (at->epoch == epochs && at->batch > 0))
        return lam_fail(LAM_ERR_INVALID,
                        "the run stands in epoch %llu, past --epochs %llu; give a larger one",
                        (unsigned long long)at->epoch + (at->batch > 0), (unsigned long long)epochs);
    return LAM_OK;
}

static bool nothing_left(const struct run *run) {
    const struct lam_position *at = &run->at;
    uint64_t epochs = (uint64_t)run->config->epochs, steps = (uint64_t)run->config->max_steps;
    bool done = at->epoch >= epochs || (steps && at->step >= steps);
    return run->from && done && run->past.finished && run->past.step == at->step;
}

lam_status lam_run_resume(struct run *run) {
    LAM_TRY(open_checkpoint(run));
    LAM_TRY(check_reach(run));
    run->past = lam_run_past(run);
    run->nothing_left = nothing_left(run);
    if (run->nothing_left && run->setup->out && !run->config->quiet)
        fprintf(run->setup->out, "%s is finished: nothing is left to do; a larger --%s goes on\n",
                run->folder.path, run->at.epoch >= (uint64_t)run->config->epochs ? "epochs" : "max-steps");
    return LAM_OK;
}

/* ---- the same data ---- */

static lam_status check_part(const struct run *run, const struct lam_data_identity *was,
                             enum lam_split split) {
    const struct lam_config *config = run->config;
    bool own_val = split == LAM_SPLIT_VAL && *config->val;
    const char *part = split == LAM_SPLIT_VAL && !own_val ? ", validation part" : "";
    const char *use = split == LAM_SPLIT_VAL ? "validated" : "trained";
    char *text =
        lam_format("--%s %s%s", own_val ? "val" : "data", own_val ? config->val : config->data, part);
    lam_status status = LAM_OK;
    if (!text) return lam_no_memory();
    if (run->data.samples[split] != was->samples[split])
        status =
            lam_fail(LAM_ERR_INVALID,
                     "%s: has %lld samples, the run was %s on %lld; put the data back or start a new run",
                     text, (long long)run->data.samples[split], use, (long long)was->samples[split]);
    else if (run->data.hash[split] != was->hash[split])
        status = lam_fail(LAM_ERR_INVALID,
                          "%s: has other samples or labels than the run was %s on; put the data back or "
                          "start a new run",
                          text, use);
    free(text);
    return status;
}

lam_status lam_run_check_data(const struct run *run) {
    struct lam_data_identity was;
    LAM_TRY(lam_snapshot_data(run->from, &was));
    LAM_TRY(check_part(run, &was, LAM_SPLIT_TRAIN));
    return check_part(run, &was, LAM_SPLIT_VAL);
}
