/* lamina-bench simulate: pipeline schedules in a simulation, for more devices than this machine has.
 *
 *     lamina-bench simulate --times times.json --link 12 --latency 5 --json simulated.json
 *     lamina-bench simulate --forward 0.010,0.012 --backward 0.02,0.024 --aux 0.003 --send-bytes 8e6 --link 12
 *
 * times.json (lamina-bench pipeline --times): {"batch": 128, "stages": [{"forward": 0.01, "aux": 0.003, "backward": 0.02,
 * "update": 0.0005, "late_send": false, "send_bytes": 8e6, "snapshot_bytes": 18432}, ...]}, seconds and bytes of a whole
 * batch; what is left out is 0, but forward and backward must stand there, and a "name" may. One stage per device. With
 * "measured": {"schedule": "ppll", "steps": 20, "seconds": 4.2} that run, from the first batch to the last one's end, is
 * simulated as well and compared.
 *
 * images_per_s is that of a long run, fill and drain left out; ideal is what the slowest stage alone allows (of
 * sequential: all stages one after another), busy, starved and blocked are shares of all the time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "bench/commands.h"
#include "pipeline/simulate.h"

enum { MOST_BATCHES = 100000 };

/* X(field, name in the file, name of the option, help) */
#define FIELD_TABLE(X)                                                                                       \
    X(FORWARD, "forward", "forward",                                                                         \
      "seconds of a batch per stage: 0.01,0.012,...; a single value holds for all")                          \
    X(AUX, "aux", "aux", "of the auxiliary networks, loss and backward included")                            \
    X(BACKWARD, "backward", "backward", "of the backward passes")                                            \
    X(UPDATE, "update", "update", "of the optimizers")                                                       \
    X(LATE_SEND, "late_send", "late-send", "1: activations leave at the end of the step, 0: after forward")  \
    X(SEND_BYTES, "send_bytes", "send-bytes", "activations of a batch to the next stage")                    \
    X(SNAPSHOT_BYTES, "snapshot_bytes", "snapshot-bytes",                                                    \
      "parameters sent to the stage before; 0: it has no EMA")

enum field {
#define FIELD(field, name, option, help) field,
    FIELD_TABLE(FIELD)
#undef FIELD
        FIELDS
};
static const char *const field_names[] = {
#define NAME(field, name, option, help) name,
    FIELD_TABLE(NAME)
#undef NAME
};
static const char *const list_names[] = {
#define OPTION(field, name, option, help) option,
    FIELD_TABLE(OPTION)
#undef OPTION
};

struct config {
    char *times, *lists[FIELDS], *schedules, *json;
    int64_t blocks, batch, batches, queue, ema_lag, micro_batches, seed;
    double micro_overhead, link, latency, jitter;
    bool early_slot, help;
};

#define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
static const struct lam_option list_table[] = {
#define LIST(field, name, option, text)                                                                      \
    ROW(option, TEXT, lists[field], "", "Times", .placeholder = "LIST", .help = text),
    FIELD_TABLE(LIST)
#undef LIST
};

static const struct lam_option table[] = {
    ROW("times", TEXT, times, "", "Times", .placeholder = "FILE",
        .help = "JSON with the measured times and sizes of each stage, instead of the lists below"),
    ROW("blocks", INT, blocks, "0", "Times", LAM_RANGE(0, LAM_SIMULATED_STAGES),
        .help = "stages; 0: as many as the longest list has values"),
    ROW("batch", INT, batch, "128", "Times", LAM_RANGE(1, 1e6),
        .help = "images in a batch; --times brings its own"),
    ROW("schedules", TEXT, schedules, "sequential,ppll,gpipe,1f1b", "Schedules", .placeholder = "LIST",
        .help = "which of these to show"),
    ROW("batches", INT, batches, "400", "Schedules", LAM_RANGE(1, MOST_BATCHES), .help = "batches in a run"),
    ROW("queue", INT, queue, "2", "Schedules", LAM_RANGE(1, 100000),
        .help = "batches handed over and not finished (ppll)"),
    ROW("early-slot", BOOL, early_slot, "no", "Schedules",
        .help = "wait for room in the next queue before forward, not after it"),
    ROW("ema-lag", INT, ema_lag, "0", "Schedules", LAM_RANGE(0, 100000),
        .help = "updates by which snapshots may be older than exact (ppll)"),
    ROW("micro-batches", INT, micro_batches, "4", "Schedules", LAM_RANGE(1, 1024),
        .help = "parts of a batch (gpipe, 1f1b)"),
    ROW("micro-overhead", NUMBER, micro_overhead, "0", "Schedules", LAM_RANGE(0, 1e9), .placeholder = "US",
        .help = "microseconds that each pass of a part costs on top"),
    ROW("link", NUMBER, link, "0", "Machine", LAM_RANGE(0, 1e6), .placeholder = "GB/S",
        .help = "bandwidth between neighbours, each way; 0: transfers take no time"),
    ROW("latency", NUMBER, latency, "0", "Machine", LAM_RANGE(0, 1e9), .placeholder = "US",
        .help = "microseconds of each transfer"),
    ROW("jitter", NUMBER, jitter, "0", "Machine", LAM_RANGE(0, 1),
        .help = "each step takes 1 - jitter to 1 + jitter of its time"),
    ROW("seed", INT, seed, "1", "Machine", LAM_RANGE(0, 9.2e18),
        .help = "names the random numbers of jitter"),
    ROW("json", TEXT, json, "", "Output", .placeholder = "FILE", .help = "write the numbers there"),
    ROW("help", BOOL, help, "no", "Output", .flags = LAM_OPTION_UNSAVED, .help = "this text"),
};

struct input {
    struct lam_simulated_stage stages[LAM_SIMULATED_STAGES];
    int stage_count;
    double batch;
    /* What the file says about the run that its times are of; steps 0: nothing. */
    enum lam_simulated_schedule measured;
    int measured_steps;
    double measured_seconds;
};

static struct lam_simulated_stage make_stage(const double values[FIELDS]) {
    return (struct lam_simulated_stage){
        .forward = values[FORWARD],
        .aux = values[AUX],
        .backward = values[BACKWARD],
        .update = values[UPDATE],
        .late_send = values[LATE_SEND] != 0,
        .send_bytes = values[SEND_BYTES],
        .snapshot_bytes = values[SNAPSHOT_BYTES],
    };
}

static lam_status check_value(enum field field, const char *where, double value) {
    if (field == LATE_SEND && value != 0 && value != 1)
        return lam_fail(LAM_ERR_INVALID, "%s is %g; it can be 0 or 1", where, value);
    if (!(isfinite(value) && value >= 0))
        return lam_fail(LAM_ERR_INVALID, "%s is %g; it must be a number, 0 or more", where, value);
    return LAM_OK;
}

/* ---- times from a file ---- */

static lam_status read_field(const char *key, const json_t *json, double values[FIELDS], bool found[FIELDS]) {
    if (!strcmp(key, "name")) return LAM_OK;
    for (int i = 0; i < FIELDS; i++) {
        if (strcmp(key, field_names[i])) continue;
        bool yes_or_no = i == LATE_SEND && json_is_boolean(json);
        if (!json_is_number(json) && !yes_or_no) return lam_fail(LAM_ERR_FORMAT, "%s is not a number", key);
        values[i] = yes_or_no ? json_is_true(json) : json_number_value(json);
        found[i] = true;
        return check_value((enum field)i, key, values[i]);
    }
    const char *near = lam_nearest(key, field_names, FIELDS);
    return lam_fail(LAM_ERR_FORMAT, "no such field as '%.60s'%s%s", key, near ? "; did you mean " : "",
                    near ? near : "");
}

static lam_status read_stage(json_t *object, struct lam_simulated_stage *stage) {
    double values[FIELDS] = {0};
    bool found[FIELDS] = {0};
    const char *key;
    json_t *value;
    if (!json_is_object(object)) return lam_fail(LAM_ERR_FORMAT, "is not an object");
    json_object_foreach(object, key, value) LAM_TRY(read_field(key, value, values, found));
    if (!found[FORWARD] || !found[BACKWARD])
        return lam_fail(LAM_ERR_FORMAT, "has no %s", field_names[found[FORWARD] ? BACKWARD : FORWARD]);
    *stage = make_stage(values);
    return LAM_OK;
}

static lam_status read_measured(json_t *measured, struct input *input) {
    const char *schedule;
    json_int_t steps;
    double seconds;
    input->measured_steps = 0;
    if (!measured) return LAM_OK;
    bool right = json_unpack(measured, "{s:s, s:I, s:F}", "schedule", &schedule, "steps", &steps, "seconds",
                             &seconds) == 0 &&
                 steps > 0 && steps <= MOST_BATCHES && seconds > 0;
    for (int i = 0; i < LAM_SIMULATED_SCHEDULES && right; i++) {
        if (strcmp(schedule, lam_simulated_schedule_name((enum lam_simulated_schedule)i))) continue;
        input->measured = (enum lam_simulated_schedule)i;
        input->measured_steps = (int)steps;
        input->measured_seconds = seconds;
    }
    return input->measured_steps
               ? LAM_OK
               : lam_fail(LAM_ERR_FORMAT, "\"measured\" is not schedule, steps and seconds of a run");
}

static lam_status read_stages(const json_t *root, struct input *input) {
    const json_t *batch = json_object_get(root, "batch"), *stages = json_object_get(root, "stages");
    size_t count = json_array_size(stages);
    if (!json_is_integer(batch) || json_integer_value(batch) < 1)
        return lam_fail(LAM_ERR_FORMAT, "has no \"batch\" that is the number of images");
    if (count < 1 || count > LAM_SIMULATED_STAGES)
        return lam_fail(LAM_ERR_FORMAT, "has no \"stages\" that is a list of 1 to %d", LAM_SIMULATED_STAGES);
    input->batch = (double)json_integer_value(batch);
    input->stage_count = (int)count;
    LAM_TRY(read_measured(json_object_get(root, "measured"), input));
    for (size_t i = 0; i < count; i++) {
        lam_status status = read_stage(json_array_get(stages, i), &input->stages[i]);
        char prefix[32];
        snprintf(prefix, sizeof prefix, "stage %zu", i + 1);
        if (status != LAM_OK) return lam_fail_in(status, prefix);
    }
    return LAM_OK;
}

static lam_status read_times(const char *path, struct input *input) {
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    json_error_t error;
    json_t *root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
    free(data);
    if (!root) return lam_fail(LAM_ERR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    lam_status status = read_stages(root, input);
    json_decref(root);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, path);
}

/* ---- times from lists ---- */

static lam_status read_list(const char *text, enum field field, double values[][FIELDS], int *count) {
    for (*count = 0; *text; ++*count) {
        char *end, where[64];
        double value = strtod(text, &end);
        snprintf(where, sizeof where, "--%s: value %d", list_names[field], *count + 1);
        if (*count == LAM_SIMULATED_STAGES)
            return lam_fail(LAM_ERR_INVALID, "%s is one too many; there can be %d", where,
                            LAM_SIMULATED_STAGES);
        if (end == text || (*end && *end != ',') || (*end == ',' && !end[1]))
            return lam_fail(LAM_ERR_INVALID, "%s is not a number: '%.60s'", where, text);
        LAM_TRY(check_value(field, where, value));
        values[*count][field] = value;
        text = *end ? end + 1 : end;
    }
    return LAM_OK;
}

/* A list of one value holds for all stages. */
static lam_status fit_list(enum field field, double values[][FIELDS], int count, int stage_count) {
    if (count > 1 && count != stage_count)
        return lam_fail(LAM_ERR_INVALID, "--%s: %d values for %d stages; give one, or one for each",
                        list_names[field], count, stage_count);
    for (int i = 1; i < stage_count && count == 1; i++) values[i][field] = values[0][field];
    return LAM_OK;
}

static lam_status read_lists(const struct config *config, struct input *input) {
    double values[LAM_SIMULATED_STAGES][FIELDS] = {0};
    int counts[FIELDS], longest = 1;
    for (int i = 0; i < FIELDS; i++) {
        LAM_TRY(read_list(config->lists[i], (enum field)i, values, &counts[i]));
        if (counts[i] > longest) longest = counts[i];
    }
    if (counts[FORWARD] == 0 || counts[BACKWARD] == 0)
        return lam_fail(LAM_ERR_INVALID, "no times; give --times FILE, or --forward and --backward");
    input->batch = (double)config->batch;
    input->stage_count = config->blocks > 0 ? (int)config->blocks : longest;
    for (int i = 0; i < FIELDS; i++) LAM_TRY(fit_list((enum field)i, values, counts[i], input->stage_count));
    for (int i = 0; i < input->stage_count; i++) input->stages[i] = make_stage(values[i]);
    return LAM_OK;
}

static lam_status read_input(const struct config *config, const struct lam_options *options,
                             struct input *input) {
    if (!*config->times) return read_lists(config, input);
    for (int i = 0; i < FIELDS + 2; i++) {
        const char *name = i < FIELDS ? list_names[i] : i == FIELDS ? "blocks" : "batch";
        if (lam_options_given(options, name))
            return lam_fail(LAM_ERR_INVALID, "--%s: stands in the file of --times; give one of the two",
                            name);
    }
    return read_times(config->times, input);
}

/* ---- schedules ---- */

struct shown {
    enum lam_simulated_schedule schedules[LAM_SIMULATED_SCHEDULES];
    int count;
};

static lam_status add_schedule(struct shown *shown, const char *name) {
    const char *names[LAM_SIMULATED_SCHEDULES];
    for (int i = 0; i < LAM_SIMULATED_SCHEDULES; i++)
        names[i] = lam_simulated_schedule_name((enum lam_simulated_schedule)i);
    for (int i = 0; i < shown->count; i++)
        if (!strcmp(name, names[shown->schedules[i]]))
            return lam_fail(LAM_ERR_INVALID, "--schedules: %s stands there twice", name);
    for (int i = 0; i < LAM_SIMULATED_SCHEDULES; i++) {
        if (strcmp(name, names[i])) continue;
        shown->schedules[shown->count++] = (enum lam_simulated_schedule)i;
        return LAM_OK;
    }
    const char *near = lam_nearest(name, names, LAM_SIMULATED_SCHEDULES);
    return lam_fail(LAM_ERR_INVALID, "--schedules: '%.60s' is not one of sequential, ppll, gpipe, 1f1b%s%s",
                    name, near ? "; did you mean " : "", near ? near : "");
}

static lam_status read_schedules(const char *text, struct shown *shown) {
    char *copy = strdup(text), *rest = copy, *name;
    if (!copy) return lam_no_memory();
    lam_status status = LAM_OK;
    while (status == LAM_OK && (name = strsep(&rest, ","))) status = add_schedule(shown, name);
    free(copy);
    return status;
}

static lam_status simulate_one(const struct config *config, const struct input *input,
                               enum lam_simulated_schedule schedule, int batches,
                               struct lam_simulation_result *result) {
    struct lam_simulation simulation = {
        .schedule = schedule,
        .stages = input->stages,
        .stage_count = input->stage_count,
        .batches = batches,
        .queue = (int)config->queue,
        .early_slot = config->early_slot,
        .ema_lag = (int)config->ema_lag,
        .micro_batches = (int)config->micro_batches,
        .micro_overhead = 1e-6 * config->micro_overhead,
        .link_bytes_per_s = 1e9 * config->link,
        .latency = 1e-6 * config->latency,
        .jitter = config->jitter,
        .seed = (uint64_t)config->seed,
    };
    return lam_simulate(&simulation, result);
}

/* ---- output ---- */

static void print_rates(const struct input *input, const struct shown *shown,
                        const struct lam_simulation_result *results) {
    double sequential = results[LAM_SIMULATE_SEQUENTIAL].steady_seconds;
    double gpipe = results[LAM_SIMULATE_GPIPE].steady_seconds;
    printf("%d stages, %.0f images in a batch\n\n", input->stage_count, input->batch);
    printf("%-12s %12s %13s %8s %12s %9s\n", "schedule", "images/s", "/ sequential", "/ gpipe", "ideal",
           "of ideal");
    for (int i = 0; i < shown->count; i++) {
        const struct lam_simulation_result *r = &results[shown->schedules[i]];
        printf("%-12s %12.1f %13.2f %8.2f %12.1f %7.1f %%\n",
               lam_simulated_schedule_name(shown->schedules[i]), input->batch / r->steady_seconds,
               sequential / r->steady_seconds, gpipe / r->steady_seconds, input->batch / r->ideal_seconds,
               100 * r->ideal_seconds / r->steady_seconds);
    }
}

static void print_shares(const struct input *input, const struct shown *shown,
                         const struct lam_simulation_result *results) {
    printf("\nbusy / starved / blocked, %%\n%-9s", "device");
    for (int i = 0; i < shown->count; i++) printf(" %19s", lam_simulated_schedule_name(shown->schedules[i]));
    putchar('\n');
    for (int device = 0; device < input->stage_count; device++) {
        printf("%-9d", device);
        for (int i = 0; i < shown->count; i++) {
            const struct lam_simulation_result *r = &results[shown->schedules[i]];
            printf("   %5.1f %5.1f %5.1f", 100 * r->busy[device], 100 * r->starved[device],
                   100 * r->blocked[device]);
        }
        putchar('\n');
    }
}

/* The measured run, simulated. */
static lam_status print_check(const struct config *config, const struct input *input) {
    struct lam_simulation_result result;
    if (!input->measured_steps) return LAM_OK;
    LAM_TRY(simulate_one(config, input, input->measured, input->measured_steps, &result));
    printf("\n%d steps of %s took %.3f s when these times were measured; simulated, %.3f s: %+.1f %%\n",
           input->measured_steps, lam_simulated_schedule_name(input->measured), input->measured_seconds,
           result.seconds, 100 * (result.seconds / input->measured_seconds - 1));
    if (input->measured == LAM_SIMULATE_PPLL)
        printf("Steps under ppll hold the auxiliary networks' time: read gpipe and 1f1b from times of "
               "sequential.\n");
    return LAM_OK;
}

static json_t *list_of(const double *values, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_real(values[i]));
    return list;
}

static json_t *make_json(const struct input *input, const struct shown *shown,
                         const struct lam_simulation_result *results) {
    json_t *list = json_array();
    int count = input->stage_count;
    for (int i = 0; i < shown->count; i++) {
        const struct lam_simulation_result *r = &results[shown->schedules[i]];
        json_t *waiting = json_array();
        for (int k = 0; k < count; k++) json_array_append_new(waiting, json_integer(r->peak_waiting[k]));
        json_t *object = json_pack(
            "{s:s, s:s, s:f, s:f, s:f, s:I, s:o, s:o, s:o, s:o}", "benchmark", "simulate", "schedule",
            lam_simulated_schedule_name(shown->schedules[i]), "images_per_s",
            input->batch / r->steady_seconds, "ideal", input->batch / r->ideal_seconds, "seconds", r->seconds,
            "batch", (json_int_t)input->batch, "busy", list_of(r->busy, count), "starved",
            list_of(r->starved, count), "blocked", list_of(r->blocked, count), "peak_waiting", waiting);
        if (json_array_append_new(list, object) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static lam_status run_simulate(const struct config *config, const struct lam_options *options) {
    struct input input;
    struct shown shown = {0};
    struct lam_simulation_result results[LAM_SIMULATED_SCHEDULES];
    LAM_TRY(read_input(config, options, &input));
    LAM_TRY(read_schedules(config->schedules, &shown));
    for (int i = 0; i < LAM_SIMULATED_SCHEDULES; i++)
        LAM_TRY(
            simulate_one(config, &input, (enum lam_simulated_schedule)i, (int)config->batches, &results[i]));
    print_rates(&input, &shown, results);
    print_shares(&input, &shown, results);
    LAM_TRY(print_check(config, &input));
    return *config->json ? bench_write_json(config->json, make_json(&input, &shown, results)) : LAM_OK;
}

lam_status bench_simulate(int argc, char **argv) {
    struct config config = {0};
    struct lam_options options = {
        .program = "lamina-bench simulate",
        .usage = "--times FILE | --forward LIST --backward LIST [options]",
        .tables = {{table, sizeof table / sizeof *table, &config}, {list_table, FIELDS, &config}},
        .table_count = 2};
    lam_status status = bench_options(&options, argc, argv, &config.help);
    if (status == LAM_OK && !config.help) status = run_simulate(&config, &options);
    lam_options_free(&options);
    return status;
}
