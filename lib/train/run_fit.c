/* --fit-memory: what a run was cut into becomes part of its options, so that resuming it and running it again take the very same
 * cut; and what a run that fits nowhere would need. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "train/run_internal.h"

static lam_status set_number(struct lam_options *options, const char *name, int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    return lam_options_set(options, name, text);
}

/* Blocks and cuts; and kernels by rule, where there was no room to measure them in. */
static lam_status settle_cut(const struct run *run) {
    struct lam_options *options = run->setup->options;
    const struct lam_chain *chain = &run->chain;
    LAM_TRY(set_number(options, "blocks", chain->count));
    if (lam_tuning_mode(run->tuning) == LAM_TUNING_FIXED)
        LAM_TRY(lam_options_set(options, "tuning", "fixed"));
    if (chain->count == 1) return LAM_OK;
    char *cuts = lam_partition_text(&chain->partition);
    lam_status status = cuts ? lam_options_set(options, "partition", cuts) : lam_no_memory();
    free(cuts);
    return status;
}

lam_status lam_run_settle_fit(struct run *run) {
    struct lam_options *options = run->setup->options;
    if (!*run->config->fit_memory) return LAM_OK;
    if (lam_config_fits(run->config)) LAM_TRY(settle_cut(run));
    char *limit = strdup(run->config->fit_memory);
    lam_status status = limit ? lam_options_set(options, "memory-limit", limit) : lam_no_memory();
    free(limit);
    return status == LAM_OK ? lam_options_set(options, "fit-memory", "") : status;
}

void lam_run_print_least(const struct run *run) {
    FILE *out = run->setup->out;
    if (!run->chain.too_large || !out || run->config->quiet) return;
    fputs("with the least that blocks can do with: ", out);
    for (int d = 0; d < run->device_count; d++) {
        struct lam_forecast forecast = lam_forecast_of(run->devices[d], &run->chain.least[d], 0);
        lam_forecast_print(&forecast, out);
    }
    fflush(out);
}
