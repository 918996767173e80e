/* The promise: a pipeline gives the very parameters of plain local learning, block after block, whatever the timing; over
 * streams of one GPU, over GPUs, with recordings and without. And those parameters are the CPU's but for rounding. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/gpu_check.h"
#include "bench/chain.h"

enum { MOST_DEVICES = 4 };

struct network {
    const char *model, *method;
    int blocks;
    enum lam_dtype precision;
};
static const struct network all[] = {
    {"resnet20", "dgl", 2, LAM_F32},    {"resnet20", "dgl", 4, LAM_F32},
    {"resnet20", "glcan", 2, LAM_F32},  {"resnet20", "glcan", 4, LAM_F32},
    {"vit-micro", "dgl", 2, LAM_F32},   {"vit-micro", "dgl", 4, LAM_F32},
    {"vit-micro", "glcan", 2, LAM_F32}, {"vit-micro", "glcan", 4, LAM_F32},
    {"resnet20", "glcan", 4, LAM_BF16}, {"vit-micro", "dgl", 4, LAM_BF16},
};
static const struct network some[] = {{"resnet20", "glcan", 4, LAM_F32}, {"vit-micro", "dgl", 2, LAM_BF16}};

/* One way to train it. */
struct way {
    const char *name;
    enum lam_pipeline_schedule schedule;
    char *devices[MOST_DEVICES];
    int device_count;
    bool launch_each;
};

struct trial {
    struct gpu_check *check;
    const struct network *what;
    struct bench_network network;
    const struct lam_aux *aux;
    struct lam_tuning *tuning; /* of the GPUs: what is measured once is chosen again */
    char title[64];
};

/* ---- training ---- */

struct state {
    float *values;
    size_t count;
};

static lam_status append(struct state *s, struct lam_device *device, const float *values, int64_t count) {
    size_t more = (size_t)count;
    if (!more) return LAM_OK;
    float *longer = realloc(s->values, (s->count + more) * sizeof *longer);
    if (!longer) return lam_no_memory();
    s->values = longer;
    LAM_TRY(lam_device_download(device, longer + s->count, values, more * sizeof *values));
    s->count += more;
    return LAM_OK;
}

/* Parameters, statistics and momenta of all blocks. */
static lam_status read_state(const struct bench_chain *chain, struct state *s) {
    for (int j = 0; j < chain->cut.count; j++) {
        const struct lam_block *block = chain->cut.blocks[j];
        const struct lam_params *params = lam_block_params(block);
        struct lam_device *device = lam_block_device(block);
        LAM_TRY(append(s, device, lam_params_values(params), lam_params_count(params)));
        LAM_TRY(append(s, device, lam_params_buffers(params), lam_params_buffer_count(params)));
        LAM_TRY(
            append(s, device, lam_optimizer_state(lam_block_optimizer(block), 0), lam_params_count(params)));
    }
    return LAM_OK;
}

static lam_status train(const struct trial *t, const struct way *way, struct state *s) {
    struct bench_chain_options options = {
        .network = &t->network,
        .devices = way->devices,
        .device_count = way->device_count,
        .modes.launch_each = way->launch_each,
        .schedule = way->schedule,
        .queue = 2,
        .blocks = t->what->blocks,
        .partition = "uniform",
        .aux = t->aux,
        .aux_options.stages = true,
        .precision = t->what->precision,
        .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD),
        .tuning = strncmp(way->devices[0], "cuda", 4) ? NULL : t->tuning,
    };
    struct bench_chain chain = {.device_count = 0};
    lam_status status = bench_chain_open(&options, &chain);
    if (status == LAM_OK) status = bench_chain_train(&chain, 0, t->check->quick ? 2 : 5, 0.02f);
    if (status == LAM_OK) status = read_state(&chain, s);
    bench_chain_close(&chain);
    return status;
}

/* ---- comparing ---- */

/* The largest difference, as a share of the largest value; not a number where one of them is not. */
static double distance(const struct state *a, const struct state *b) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < a->count; i++) {
        double difference = fabs((double)a->values[i] - (double)b->values[i]);
        if (!(difference <= most)) most = difference;
        if (isnan(most)) break;
        largest = fmax(largest, fabs((double)b->values[i]));
    }
    return most / largest;
}

/* allowed 0: to the bit. */
static lam_status compare(const struct trial *t, const struct way *way, const struct state *reference,
                          double allowed, json_t *result) {
    struct state s = {.count = 0};
    lam_status status = train(t, way, &s);
    if (status == LAM_OK && s.count != reference->count)
        status = lam_fail(LAM_ERR_INTERNAL, "%zu numbers, not %zu", s.count, reference->count);
    if (!gpu_check_passed(t->check, way->name, status)) {
        free(s.values);
        return LAM_OK;
    }
    double off = distance(&s, reference);
    bool same = memcmp(s.values, reference->values, s.count * sizeof *s.values) == 0;
    if (allowed > 0 ? !(off < allowed) : !same)
        gpu_check_failed(t->check, "%s, %s: %.3g off", t->title, way->name, off);
    else if (same)
        fprintf(t->check->out, "    %-30s  the same bits\n", way->name);
    else
        fprintf(t->check->out, "    %-30s  %.2g off\n", way->name, off);
    json_t *found = json_pack("{s:b}", "same", same);
    if (isfinite(off)) json_object_set_new(found, "off", json_real(off));
    json_object_set_new(result, way->name, found);
    free(s.values);
    return LAM_OK;
}

static lam_status compare_all(const struct trial *t, const struct state *reference, json_t *result) {
    char *const *gpus = t->check->devices;
    char *one = gpus[0], cores[32];
    int count = t->check->device_count < t->what->blocks ? t->check->device_count : t->what->blocks;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(cores, sizeof cores, cpus > 1 ? "cpu:0-%ld" : "cpu:0", (cpus < 16 ? cpus : 16) - 1);
    struct way ways[] = {
        {"recorded", LAM_PIPELINE_SEQUENTIAL, {one}, 1, false},
        {"ppll, one worker", LAM_PIPELINE_PPLL, {one}, 1, false},
        {"ppll, 2 streams of one GPU", LAM_PIPELINE_PPLL, {one, one}, 2, false},
        {"ppll, 4 streams of one GPU", LAM_PIPELINE_PPLL, {one, one, one, one}, 4, false},
        {"ppll, one GPU after another", LAM_PIPELINE_PPLL, {NULL}, count, false},
    };
    for (int d = 0; d < count && d < MOST_DEVICES; d++) ways[4].devices[d] = gpus[d];
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
        if (ways[w].device_count <= t->what->blocks && (w < 4 || count > 1))
            LAM_TRY(compare(t, &ways[w], reference, 0, result));
    struct way cpu = {"the CPU", LAM_PIPELINE_SEQUENTIAL, {cores}, 1, false};
    return t->what->precision == LAM_F32 ? compare(t, &cpu, reference, 1e-3, result) : LAM_OK;
}

/* ---- one network ---- */

static lam_status try_network(struct trial *t, json_t *result) {
    struct way plain = {"one by one", LAM_PIPELINE_SEQUENTIAL, {t->check->devices[0]}, 1, true};
    struct state reference = {.count = 0};
    LAM_TRY(lam_aux_find(t->what->method, &t->aux));
    LAM_TRY(lam_tuning_create(t->check->quick ? LAM_TUNING_FIXED : LAM_TUNING_MEASURE, &t->tuning));
    LAM_TRY(bench_network_open(t->what->model, t->check->quick ? "8" : "32", 10, t->check->quick ? 2 : 32,
                               &t->network));
    lam_status status = train(t, &plain, &reference);
    if (status == LAM_OK) status = compare_all(t, &reference, result);
    free(reference.values);
    return status;
}

static void write_title(const struct network *what, char *title, size_t size) {
    snprintf(title, size, "%s %s %d blocks %s", what->model, what->method, what->blocks,
             lam_dtype_name(what->precision));
}

static lam_status check_network(struct gpu_check *check, const void *context, json_t *result) {
    struct trial trial = {.check = check, .what = context};
    write_title(trial.what, trial.title, sizeof trial.title);
    fprintf(check->out, "  %s\n", trial.title);
    lam_status status = try_network(&trial, result);
    bench_network_close(&trial.network);
    lam_tuning_destroy(trial.tuning);
    return status;
}

void gpu_check_exactness(struct gpu_check *check, json_t *result) {
    const struct network *networks = check->quick ? some : all;
    size_t count = check->quick ? sizeof some / sizeof *some : sizeof all / sizeof *all;
    for (size_t i = 0; i < count; i++) {
        char title[64];
        json_t *of_network = json_object();
        write_title(&networks[i], title, sizeof title);
        gpu_check_passed(check, title, gpu_check_apart(check, check_network, &networks[i], of_network));
        json_object_set_new(result, title, of_network);
    }
}
