/* lamina-bench pipeline: the same blocks under each schedule, in turn.
 *
 *     lamina-bench pipeline --model resnet32 --method dgl --blocks 2 --devices cpu:0,cpu:1 --rounds 5
 *     lamina-bench pipeline ... --times times.json        # then: lamina-bench simulate --times times.json
 *
 * Measured is the time from one step's end in the last block to a later one's: a long run's throughput, without filling and
 * draining. Schedules alternate, round by round, so that a machine that slows down slows all of them; the median round
 * counts, ratios are taken within a round. `end-to-end` is one block on one device of all the cores (--whole).
 *
 * --times-of: what each device needs for a step, in turn (sequential), or side by side (ppll): on devices that share no
 * cores that is what they will need, with the memory's bandwidth shared and caches of their own.
 *
 * ideal: with t_d the seconds of device d in a step of `sequential`, PPLL can be sum(t) / max(t) times as fast.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "bench/block.h"
#include "bench/chain.h"
#include "bench/commands.h"

enum { MOST_ROUNDS = 1000 };

/* X(suffix, name) */
#define SCHEDULE_TABLE(X)                                                                                    \
    X(SEQUENTIAL, "sequential")                                                                              \
    X(PPLL, "ppll")                                                                                          \
    X(GPIPE, "gpipe")                                                                                        \
    X(ONE_F_ONE_B, "1f1b")                                                                                   \
    X(WHOLE, "end-to-end")
enum schedule {
#define SCHEDULE(suffix, name) suffix,
    SCHEDULE_TABLE(SCHEDULE)
#undef SCHEDULE
        SCHEDULES
};
static const char *const schedule_names[] = {
#define NAME(suffix, name) name,
    SCHEDULE_TABLE(NAME)
#undef NAME
};

struct config {
    char *model, *method, *partition, *devices, *whole, *schedules, *json, *times, *tuning_file, *image_size;
    int precision, glcan_global, times_of;
    int64_t blocks, batch, queue, micro_batches, steps, rounds, classes;
    bool help;
};

static const char *const globals[] = {"stages", "next", NULL};
static const char *const precisions[] = {"f32", "bf16", "tf32", NULL};
static const char *const times_of[] = {"sequential", "ppll", NULL};
static const enum schedule times_schedule[] = {SEQUENTIAL, PPLL};

#define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
static const struct lam_option table[] = {
    ROW("model", TEXT, model, "resnet32", "What", .help = "network"),
    ROW("method", TEXT, method, "dgl", "What", .help = "auxiliary networks: dgl, glcan"),
    ROW("glcan-global", CHOICE, glcan_global, "stages", "What", .choices = globals,
        .help = "glcan: copies of later stages' first units, or of the next block's"),
    ROW("blocks", INT, blocks, "2", "What", LAM_RANGE(1, LAM_MAX_BLOCKS), .help = "gradient-isolated blocks"),
    ROW("partition", TEXT, partition, "profiled", "What",
        .help = "profiled, paper, uniform or a list of last units"),
    ROW("batch", INT, batch, "128", "What", LAM_RANGE(1, 65536), .help = "samples in a step"),
    ROW("precision", CHOICE, precision, "f32", "What", .choices = precisions, .help = "type of activations"),
    ROW("image-size", TEXT, image_size, "", "What", .placeholder = "PIXELS",
        .help = "side of a classifier's images, 32 if not given; WIDTHxHEIGHT for detectors; side of a patch "
                "for super-resolution"),
    ROW("classes", INT, classes, "10", "What", LAM_RANGE(2, 100000), .help = "of a classifier"),
    ROW("devices", TEXT, devices, "cpu:0,cpu:1", "How", .help = "devices of the blocks"),
    ROW("whole", TEXT, whole, "auto", "How", .help = "device of end-to-end training"),
    ROW("schedules", TEXT, schedules, "sequential,ppll,gpipe,1f1b,end-to-end", "How",
        .help = "what to time, in this order"),
    ROW("queue", INT, queue, "2", "How", LAM_RANGE(1, 1024), .help = "batches handed over and not finished"),
    ROW("micro-batches", INT, micro_batches, "4", "How", LAM_RANGE(1, 256),
        .help = "gpipe, 1f1b: parts of a batch"),
    ROW("steps", INT, steps, "20", "How", LAM_RANGE(1, 100000), .help = "steps to time in a round"),
    ROW("rounds", INT, rounds, "3", "How", LAM_RANGE(1, MOST_ROUNDS),
        .help = "times that each schedule has its turn"),
    ROW("tuning-file", TEXT, tuning_file, "", "How", .help = "record of measured choices, read and written"),
    ROW("json", TEXT, json, "", "Output", .placeholder = "FILE", .help = "write the numbers there"),
    ROW("times", TEXT, times, "", "Output", .placeholder = "FILE",
        .help = "write what lamina-bench simulate needs there"),
    ROW("times-of", CHOICE, times_of, "sequential", "Output", .choices = times_of,
        .help = "--times: the schedule whose times it gets; ppll if no two devices share cores"),
    ROW("help", BOOL, help, "no", "Output", .flags = LAM_OPTION_UNSAVED, .help = "this text"),
};

/* ---- one measurement ---- */

struct measured {
    double rate;                                         /* images/s */
    struct lam_pipeline_times times[BENCH_MOST_DEVICES]; /* of all its steps */
    /* Of as many steps between two drains, where --times asks for this schedule's: no part of another step. */
    bool wants_whole_steps;
    struct lam_pipeline_times whole_steps[BENCH_MOST_DEVICES];
    double whole_seconds;
    size_t peak_bytes[BENCH_MOST_DEVICES];
    int devices;
};

struct bench {
    struct config config;
    struct bench_network network;
    struct lam_tuning *tuning;
    const struct lam_aux *aux;
    char **names, *whole;
    int device_count;
    enum schedule schedules[SCHEDULES];
    int schedule_count;
    char cut[512];
    double send_bytes[BENCH_MOST_DEVICES], snapshot_bytes[BENCH_MOST_DEVICES];
};

static lam_status time_whole_steps(const struct bench *b, struct bench_chain *chain, uint64_t first,
                                   struct measured *m) {
    lam_pipeline_reset_times(chain->pipeline);
    double begin = lam_seconds();
    LAM_TRY(bench_chain_train(chain, first, first + (uint64_t)b->config.steps, 1e-3f));
    m->whole_seconds = lam_seconds() - begin;
    for (int d = 0; d < m->devices; d++) m->whole_steps[d] = lam_pipeline_times(chain->pipeline, d);
    return LAM_OK;
}

static lam_status run_steps(const struct bench *b, struct bench_chain *chain, struct measured *m) {
    uint64_t next = 0;
    m->devices = lam_pipeline_devices(chain->pipeline);
    LAM_TRY(bench_chain_time(chain, (int)b->config.steps, &m->rate, &next));
    for (int d = 0; d < m->devices; d++) {
        m->times[d] = lam_pipeline_times(chain->pipeline, d);
        m->peak_bytes[d] = lam_device_memory_total(lam_pipeline_stage(chain->pipeline, d)->device).peak;
    }
    return m->wants_whole_steps ? time_whole_steps(b, chain, next, m) : LAM_OK;
}

static void note_cut(struct bench *b, const struct lam_chain *chain) {
    size_t used = 0;
    b->cut[0] = 0;
    for (int j = 0; j < chain->count && used < sizeof b->cut; j++)
        used += (size_t)snprintf(b->cut + used, sizeof b->cut - used, "%s%s on %s", j ? "; " : "",
                                 lam_block_name(chain->blocks[j]),
                                 lam_device_name(lam_block_device(chain->blocks[j])));
    for (int j = 0; j < chain->count; j++) {
        int d = chain->partition.device[j];
        bool ends = j + 1 == chain->count || chain->partition.device[j + 1] != d;
        if (ends) b->send_bytes[d] = (double)lam_block_output_bytes(chain->blocks[j]);
        if (j && chain->partition.device[j - 1] != d)
            b->snapshot_bytes[d] = (double)lam_block_twin_count(chain->blocks[j - 1]) * sizeof(float);
    }
}

static enum lam_pipeline_schedule pipeline_schedule(enum schedule schedule) {
    switch (schedule) {
    case PPLL:
        return LAM_PIPELINE_PPLL;
    case GPIPE:
        return LAM_PIPELINE_GPIPE;
    case ONE_F_ONE_B:
        return LAM_PIPELINE_1F1B;
    default:
        return LAM_PIPELINE_SEQUENTIAL;
    }
}

static lam_status measure(struct bench *b, enum schedule schedule, struct measured *m) {
    bool whole = schedule == WHOLE, end_to_end = schedule == GPIPE || schedule == ONE_F_ONE_B;
    struct bench_chain_options options = {
        .network = &b->network,
        .devices = whole ? &b->whole : b->names,
        .device_count = whole ? 1 : b->device_count,
        .modes.tf32 = b->config.precision == 2,
        .schedule = pipeline_schedule(schedule),
        .queue = (int)b->config.queue,
        .blocks = whole ? 1 : (int)b->config.blocks,
        .partition = b->config.partition,
        .aux = b->aux,
        .aux_options.stages = b->config.glcan_global == 0,
        .micro_batches = end_to_end ? (int)b->config.micro_batches : 0,
        .all_in_flight = schedule == GPIPE,
        .precision = b->config.precision == 1 ? LAM_BF16 : LAM_F32,
        .optimizer = bench_network_optimizer(&b->network),
        .tuning = b->tuning,
    };
    struct bench_chain chain = {.device_count = 0};
    lam_status status = bench_chain_open(&options, &chain);
    if (status == LAM_OK && !whole && !end_to_end) note_cut(b, &chain.cut);
    if (status == LAM_OK) status = run_steps(b, &chain, m);
    bench_chain_close(&chain);
    return status;
}

/* ---- all of them ---- */

static double median(const double *values, int count) {
    double sorted[MOST_ROUNDS];
    memcpy(sorted, values, sizeof *values * (size_t)count);
    bench_sort(sorted, count);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* The round in the middle by rate. */
static const struct measured *middle(const struct measured *rounds, int count) {
    double rates[MOST_ROUNDS];
    for (int r = 0; r < count; r++) rates[r] = rounds[r].rate;
    bench_sort(rates, count);
    for (int r = 0; r < count; r++)
        if (rounds[r].rate == rates[(count - 1) / 2]) return &rounds[r];
    return rounds;
}

static double ideal_of(const struct measured *m) {
    double sum = 0, most = 1e-30;
    for (int d = 0; d < m->devices; d++) {
        sum += m->times[d].busy;
        if (m->times[d].busy > most) most = m->times[d].busy;
    }
    return sum / most;
}

/* Parts of all the time. */
static struct lam_pipeline_times shares_of(const struct lam_pipeline_times *t) {
    double all = t->busy + t->starved + t->blocked, factor = all > 0 ? 1 / all : 0;
    return (struct lam_pipeline_times){
        .busy = factor * t->busy, .starved = factor * t->starved, .blocked = factor * t->blocked};
}

static json_t *to_json(const struct bench *b, enum schedule schedule, const struct measured *m, double ratio,
                       double ideal) {
    json_t *busy = json_array(), *starved = json_array(), *blocked = json_array(), *peak = json_array();
    for (int d = 0; d < m->devices; d++) {
        struct lam_pipeline_times shares = shares_of(&m->times[d]);
        json_array_append_new(busy, json_real(shares.busy));
        json_array_append_new(starved, json_real(shares.starved));
        json_array_append_new(blocked, json_real(shares.blocked));
        json_array_append_new(peak, json_integer((json_int_t)m->peak_bytes[d]));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "benchmark", "pipeline",
        "schedule", schedule_names[schedule], "model", b->config.model, "method", b->config.method,
        "precision", precisions[b->config.precision], "batch", (json_int_t)b->config.batch, "blocks",
        (json_int_t)(schedule == WHOLE ? 1 : b->config.blocks), "images_per_s", m->rate, "ratio", ratio,
        "ideal", ideal, "busy", busy, "starved", starved, "blocked", blocked, "peak_bytes", peak);
}

static void print_row(enum schedule schedule, const struct measured *m, double ratio, double ideal) {
    printf("%-11s %9.1f  %6.3fx ", schedule_names[schedule], m->rate, ratio);
    if (schedule == PPLL && ideal > 0)
        printf("%7.3f ", ratio / ideal);
    else
        printf("%7s ", "");
    for (int d = 0; d < m->devices; d++) {
        struct lam_pipeline_times shares = shares_of(&m->times[d]);
        printf(" %d: %.1f %.1f %.1f, %.1f", d, 100 * shares.busy, 100 * shares.starved, 100 * shares.blocked,
               (double)m->peak_bytes[d] / (1 << 20));
    }
    putchar('\n');
}

static lam_status report(const struct bench *b, struct measured *const *all) {
    int rounds = (int)b->config.rounds;
    json_t *list = json_array();
    double ideal = 0, ratios[MOST_ROUNDS];
    for (int s = 0; s < b->schedule_count; s++)
        if (b->schedules[s] == SEQUENTIAL) ideal = ideal_of(middle(all[s], rounds));
    printf("%s, %s, %lld blocks, batch %lld, %s\n%s\n", b->config.model, b->config.method,
           (long long)b->config.blocks, (long long)b->config.batch, precisions[b->config.precision], b->cut);
    if (ideal > 0) printf("ideal speed-up of ppll over sequential: %.3f\n", ideal);
    printf("%-11s %9s  %7s %7s  %s\n", "schedule", "images/s", "ratio", "ideal",
           "device: busy starved blocked %, peak MiB");
    for (int s = 0; s < b->schedule_count; s++) {
        const struct measured *m = middle(all[s], rounds);
        for (int r = 0; r < rounds; r++) ratios[r] = all[s][r].rate / all[0][r].rate;
        double ratio = median(ratios, rounds);
        print_row(b->schedules[s], m, ratio, ideal);
        json_array_append_new(list, to_json(b, b->schedules[s], m, ratio, ideal));
    }
    return bench_write_json(b->config.json, list);
}

static bool wants_times(const struct bench *b, enum schedule schedule) {
    return *b->config.times && schedule == times_schedule[b->config.times_of];
}

/* What a simulation needs: auxiliary networks are counted with the backward pass. */
static lam_status write_times(const struct bench *b, const struct measured *m) {
    json_t *stages = json_array();
    double steps = (double)b->config.steps;
    for (int d = 0; d < m->devices; d++) {
        double forward = m->whole_steps[d].forward / steps;
        double rest = m->whole_steps[d].busy / steps - forward;
        /* Nothing left to do behind what counts as forward: the output left at the end of the step. */
        bool late = d + 1 < m->devices && rest < 0.02 * forward;
        json_array_append_new(stages, json_pack("{s:f, s:f, s:b, s:f, s:f}", "forward", forward, "backward",
                                                rest, "late_send", late, "send_bytes", b->send_bytes[d],
                                                "snapshot_bytes", b->snapshot_bytes[d]));
    }
    return bench_write_json(b->config.times,
                            json_pack("{s:I, s:o, s:{s:s, s:I, s:f}}", "batch", (json_int_t)b->config.batch,
                                      "stages", stages, "measured", "schedule", times_of[b->config.times_of],
                                      "steps", (json_int_t)b->config.steps, "seconds", m->whole_seconds));
}

/* ---- setting up ---- */

static lam_status parse_schedules(struct bench *b) {
    char *copy = strdup(b->config.schedules), *rest = copy, *word;
    lam_status status = copy ? LAM_OK : lam_no_memory();
    while (status == LAM_OK && (word = strsep(&rest, ","))) {
        int found = 0;
        while (found < SCHEDULES && strcmp(word, schedule_names[found]) != 0) found++;
        if (found == SCHEDULES)
            status = lam_fail(LAM_ERR_INVALID,
                              "--schedules: '%s' is none of sequential, ppll, gpipe, 1f1b, end-to-end", word);
        else if (b->schedule_count == SCHEDULES)
            status = lam_fail(LAM_ERR_INVALID, "--schedules: name each schedule once");
        else
            b->schedules[b->schedule_count++] = (enum schedule)found;
    }
    free(copy);
    return status;
}

static lam_status check_times(const struct bench *b) {
    if (!*b->config.times) return LAM_OK;
    for (int s = 0; s < b->schedule_count; s++)
        if (wants_times(b, b->schedules[s])) return LAM_OK;
    const char *name = times_of[b->config.times_of];
    return lam_fail(LAM_ERR_INVALID, "--times: %s is not timed; name it in --schedules, or give --times-of",
                    name);
}

static lam_status set_up(struct bench *b) {
    char **whole;
    int count;
    LAM_TRY(lam_aux_find(b->config.method, &b->aux));
    if (*b->config.json) LAM_TRY(lam_check_output_file(b->config.json));
    if (*b->config.times) LAM_TRY(lam_check_output_file(b->config.times));
    LAM_TRY(parse_schedules(b));
    LAM_TRY(check_times(b));
    LAM_TRY(bench_network_open(b->config.model, b->config.image_size, (int)b->config.classes,
                               (int)b->config.batch, &b->network));
    LAM_TRY(lam_device_list_parse(b->config.devices, &b->names, &b->device_count));
    if (b->device_count > BENCH_MOST_DEVICES)
        return lam_fail(LAM_ERR_INVALID, "--devices: %d are more than %d", b->device_count,
                        BENCH_MOST_DEVICES);
    LAM_TRY(lam_device_list_parse(b->config.whole, &whole, &count));
    b->whole = whole[0];
    for (int i = 1; i < count; i++) free(whole[i]);
    free(whole);
    LAM_TRY(lam_tuning_create(LAM_TUNING_MEASURE, &b->tuning));
    return *b->config.tuning_file ? lam_tuning_load(b->tuning, b->config.tuning_file) : LAM_OK;
}

static void tear_down(struct bench *b) {
    for (int i = 0; i < b->device_count; i++) free(b->names[i]);
    free(b->names);
    free(b->whole);
    lam_tuning_destroy(b->tuning);
    bench_network_close(&b->network);
}

static lam_status run(struct bench *b) {
    struct measured *all[SCHEDULES] = {NULL};
    lam_status status = set_up(b);
    for (int s = 0; s < b->schedule_count && status == LAM_OK; s++) {
        all[s] = calloc((size_t)b->config.rounds, sizeof *all[s]);
        if (!all[s]) status = lam_no_memory();
    }
    for (int64_t r = 0; r < b->config.rounds; r++)
        for (int s = 0; s < b->schedule_count && status == LAM_OK; s++) {
            all[s][r].wants_whole_steps = wants_times(b, b->schedules[s]);
            status = measure(b, b->schedules[s], &all[s][r]);
            if (status == LAM_OK && r == 0 && *b->config.tuning_file)
                status = lam_tuning_save(b->tuning, b->config.tuning_file);
        }
    if (status == LAM_OK) status = report(b, all);
    for (int s = 0; s < b->schedule_count && status == LAM_OK; s++)
        if (wants_times(b, b->schedules[s])) status = write_times(b, middle(all[s], (int)b->config.rounds));
    for (int s = 0; s < b->schedule_count; s++) free(all[s]);
    return status;
}

lam_status bench_pipeline(int argc, char **argv) {
    struct bench bench = {.device_count = 0};
    struct lam_options options = {.program = "lamina-bench pipeline",
                                  .usage = "[options]",
                                  .tables = {{table, sizeof table / sizeof *table, &bench.config}},
                                  .table_count = 1};
    lam_status status = bench_options(&options, argc, argv, &bench.config.help);
    if (status == LAM_OK && !bench.config.help) status = run(&bench);
    tear_down(&bench);
    lam_options_free(&options);
    return status;
}
