/* A run over several ranks (lib/pipeline/transport.h): each does the whole of run.c's loop with its own stage, and the last one,
 * the head, keeps the folder: it prints, logs, evaluates and writes checkpoints.
 *
 * All ranks open data and options by themselves and must find the same. What the head alone decides is sent to the others:
 * measured choices and the scores of an evaluation. A stop is announced by the first rank, in line with the
 * batches, so that all stop after the same step; the others pass a signal on to it. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "train/run_internal.h"

/* ---- life ---- */

/* What is said at once, since mpirun may leave no time for more: that a rank is gone, and that a signal came, which is
 * passed on to the first rank. */
static void on_tick(void *context) {
    struct run *run = context;
    if (run->head && !run->loss_told && lam_transport_any_lost(run->transport)) {
        run->loss_told = true;
        lam_transport_error(run->transport);
        lam_log(LAM_LOG_WARNING, "%s", lam_error_text());
    }
    if (!lam_run_stopping() || run->stop_told) return;
    run->stop_told = true;
    lam_transport_ask_stop(run->transport);
    if (run->head && !run->loss_told) lam_log(LAM_LOG_NOTICE, "stopping after the step under way");
}

static lam_status check_count(const struct run *run, int ranks) {
    char **names;
    size_t *limits;
    int devices;
    LAM_TRY(lam_config_devices(run->config, &names, &limits, &devices));
    lam_config_free_devices(names, limits, devices);
    if (ranks == devices) return LAM_OK;
    return lam_fail(LAM_ERR_INVALID,
                    "--transport mpi: %d rank%s for %d devices; start it as mpirun -n %d %s ..., or use "
                    "--transport threads",
                    ranks, ranks == 1 ? "" : "s", devices, devices, run->task->program);
}

lam_status lam_run_open_ranks(struct run *run) {
    run->head = true;
    if (run->config->transport != LAM_TRANSPORT_MPI) return LAM_OK;
    LAM_TRY(lam_transport_open_mpi(&run->transport));
    int ranks = lam_transport_ranks(run->transport);
    run->rank = lam_transport_rank(run->transport);
    run->head = run->rank + 1 == ranks;
    run->own_setup = *run->setup;
    if (!run->head) run->own_setup.out = run->own_setup.err = NULL;
    run->setup = &run->own_setup;
    lam_transport_on_tick(run->transport, on_tick, run);
    return check_count(run, ranks);
}

/* An error that was not agreed on ends all ranks; the first one is what each of them returns. */
lam_status lam_run_close_ranks(struct run *run, lam_status status) {
    if (!run->transport) return status;
    lam_transport_on_tick(run->transport, NULL, NULL);
    if (status == LAM_OK) status = lam_transport_barrier(run->transport);
    if (status != LAM_OK && !run->stop_agreed) {
        lam_transport_fail(run->transport, status);
        status = lam_transport_error(run->transport);
    }
    if (!lam_transport_any_lost(run->transport) || !run->started) return status;
    char text[512];
    snprintf(text, sizeof text, "%s", lam_error_text());
    return lam_fail(status, "%s; --resume --out %s goes on from the last checkpoint", text,
                    run->head ? run->folder.path : run->config->out);
}

/* What a wait ended with is the error that ended it. */
static lam_status cause(const struct run *run, lam_status status) {
    if (status != LAM_ERR_STOPPED) return status;
    lam_status first = lam_transport_error(run->transport);
    return first == LAM_OK ? status : first;
}

lam_status lam_run_meet(struct run *run) {
    return run->transport ? cause(run, lam_transport_barrier(run->transport)) : LAM_OK;
}

static lam_status from_head(const struct run *run, void *data, size_t bytes) {
    int head = lam_transport_ranks(run->transport) - 1;
    return cause(run, lam_transport_broadcast(run->transport, head, data, bytes));
}

bool lam_run_stop_asked(const struct run *run) {
    if (!run->transport) return lam_run_stopping();
    return run->rank == 0 && (lam_run_stopping() || lam_transport_stop_asked(run->transport));
}

/* ---- the same run everywhere ---- */

struct identity {
    uint64_t options;
    struct lam_data_identity data;
};

lam_status lam_run_check_ranks(struct run *run) {
    if (!run->transport) return LAM_OK;
    char *options;
    LAM_TRY(lam_options_ini(run->setup->options, LAM_OPTION_MACHINE, &options));
    struct identity own = {.options = lam_hash_text(options), .data = run->data}, heads = own;
    free(options);
    LAM_TRY(from_head(run, &heads, sizeof heads));
    if (own.options != heads.options)
        return lam_fail(LAM_ERR_INVALID, "rank %d was started with other options than the last rank",
                        run->rank);
    for (int split = 0; split < 2; split++)
        if (own.data.samples[split] != heads.data.samples[split] ||
            own.data.hash[split] != heads.data.hash[split])
            return lam_fail(LAM_ERR_INVALID, "rank %d finds other data at --data %s than the last rank",
                            run->rank, run->config->data);
    return LAM_OK;
}

/* ---- measured choices ---- */

/* "key\nchoice\n" for each. */
static char *choices_text(const struct lam_tuning *tuning) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) return NULL;
    for (int i = 0; i < lam_tuning_size(tuning); i++) {
        const char *key = lam_tuning_key(tuning, i);
        fprintf(file, "%s\n%s\n", key, lam_tuning_get(tuning, key));
    }
    return fclose(file) == 0 ? text : NULL;
}

static lam_status read_choices(char *text, struct lam_tuning *tuning) {
    for (char *key, *choice; (key = strsep(&text, "\n")) && *key;) {
        choice = strsep(&text, "\n");
        if (!choice) return lam_fail(LAM_ERR_INTERNAL, "a measured choice is missing");
        LAM_TRY(lam_tuning_set(tuning, key, choice));
    }
    return LAM_OK;
}

struct choices {
    int mode;
    size_t bytes;
};

lam_status lam_run_send_choices(struct run *run) {
    if (!run->transport) return LAM_OK;
    char *text = choices_text(run->tuning);
    if (!text) return lam_no_memory();
    struct choices choices = {(int)lam_tuning_mode(run->tuning), strlen(text) + 1};
    lam_status status = from_head(run, &choices, sizeof choices);
    if (status == LAM_OK) status = from_head(run, text, choices.bytes);
    free(text);
    return status;
}

lam_status lam_run_receive_choices(struct run *run, enum lam_tuning_mode *mode, struct lam_tuning **tuning) {
    struct choices choices;
    struct lam_tuning *received;
    LAM_TRY(from_head(run, &choices, sizeof choices));
    char *text = calloc(1, choices.bytes + 1);
    if (!text) return lam_no_memory();
    lam_status status = from_head(run, text, choices.bytes);
    if (status == LAM_OK) status = lam_tuning_create(LAM_TUNING_RECORD, &received);
    if (status == LAM_OK) {
        status = read_choices(text, received);
        if (status != LAM_OK) lam_tuning_destroy(received);
    }
    free(text);
    if (status != LAM_OK) return status;
    *mode = (enum lam_tuning_mode)choices.mode;
    *tuning = received;
    return LAM_OK;
}

/* Whoever computes in another way, since its machine is another one, would give other bits or expect other sizes. */
lam_status lam_run_check_choices(struct run *run) {
    if (!run->transport) return LAM_OK;
    char *text = choices_text(run->tuning);
    if (!text) return lam_no_memory();
    uint64_t own = lam_hash_text(text), heads;
    free(text);
    for (int j = 0; j < run->chain.count; j++) {
        const struct lam_block_options *o = lam_block_options(run->chain.blocks[j]);
        own = own * 31 + (uint64_t)o->last * 1024 + lam_block_output_bytes(run->chain.blocks[j]);
    }
    heads = own;
    LAM_TRY(from_head(run, &heads, sizeof heads));
    if (own == heads) return LAM_OK;
    return lam_fail(
        LAM_ERR_UNSUPPORTED,
        "rank %d would compute in another way than the last rank: their machines or memory limits "
        "differ; use equal ones, or --tuning fixed",
        run->rank);
}

/* ---- scores ---- */

struct scores {
    int count;
    struct lam_score scores[LAM_MAX_SCORES];
};

lam_status lam_run_share_scores(struct run *run, struct lam_score *scores, int *count) {
    if (!run->transport) return LAM_OK;
    struct scores shared = {.count = *count};
    memcpy(shared.scores, scores, sizeof shared.scores);
    LAM_TRY(from_head(run, &shared, sizeof shared));
    memcpy(scores, shared.scores, sizeof shared.scores);
    *count = shared.count;
    return LAM_OK;
}

/* ---- devices ---- */

static struct run_device look_at(const struct run *run, int device) {
    struct run_device seen = {.times = run->times[device],
                              .whole = run->whole[device],
                              .memory = lam_memory_of(run->devices[device])};
    seen.memory.held = run->held[device];
    return seen;
}

struct run_device lam_run_device(const struct run *run, int device) {
    bool own = !run->pipeline || lam_pipeline_local(run->pipeline, device);
    return own ? look_at(run, device) : run->others[device];
}

lam_status lam_run_gather_devices(struct run *run) {
    if (!run->transport) return LAM_OK;
    struct run_device own = look_at(run, run->rank);
    struct lam_part part = {&own, sizeof own};
    int head = lam_transport_ranks(run->transport) - 1;
    if (!run->head) return cause(run, lam_transport_send(run->transport, head, LAM_TAG_RUN, &part, 1, NULL));
    for (int r = 0; r < head; r++) {
        part.data = &run->others[r];
        LAM_TRY(cause(run, lam_transport_receive(run->transport, r, LAM_TAG_RUN, &part, 1, NULL)));
    }
    return LAM_OK;
}

/* ---- weights for a checkpoint ---- */

lam_status lam_run_fetch(void *context, int device, void *host, size_t bytes) {
    const struct run *run = context;
    const struct lam_part part = {host, bytes};
    return bytes ? cause(run, lam_transport_receive(run->transport, device, LAM_TAG_RUN, &part, 1, NULL))
                 : LAM_OK;
}

static lam_status give(void *context, const void *host, size_t bytes) {
    const struct run *run = context;
    const struct lam_part part = {(void *)(uintptr_t)host, bytes};
    int head = lam_transport_ranks(run->transport) - 1;
    return bytes ? cause(run, lam_transport_send(run->transport, head, LAM_TAG_RUN, &part, 1, NULL)) : LAM_OK;
}

lam_status lam_run_give(struct run *run, const struct lam_snapshot *snapshot) {
    return lam_snapshot_give(snapshot, give, run);
}
