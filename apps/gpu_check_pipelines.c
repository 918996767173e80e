/* What several GPUs gain: PPLL against the same blocks one after another. */
#include "apps/gpu_check.h"
#include "bench/chain.h"

struct cut {
    int blocks, devices;
};

static lam_status time_schedule(struct gpu_check *check, const struct cut *cut,
                                struct bench_chain_options *options, enum lam_pipeline_schedule schedule,
                                double *rate, json_t *busy) {
    struct bench_chain chain = {.device_count = 0};
    int steps = check->quick ? 2 : 50;
    uint64_t next;
    options->schedule = schedule;
    lam_status status = bench_chain_open(options, &chain);
    if (status == LAM_OK) status = bench_chain_time(&chain, steps, rate, &next);
    for (int d = 0; d < cut->devices && status == LAM_OK; d++)
        json_array_append_new(busy, json_real(lam_pipeline_times(chain.pipeline, d).busy / steps));
    bench_chain_close(&chain);
    return status;
}

static lam_status compare(struct gpu_check *check, const struct cut *cut, struct bench_chain_options *options,
                          json_t *result) {
    double rates[2];
    json_t *busy[2] = {json_array(), json_array()};
    lam_status status = time_schedule(check, cut, options, LAM_PIPELINE_SEQUENTIAL, &rates[0], busy[0]);
    if (status == LAM_OK) status = time_schedule(check, cut, options, LAM_PIPELINE_PPLL, &rates[1], busy[1]);
    if (status == LAM_OK) {
        fprintf(check->out,
                "  %d blocks on %d GPUs: %.1f images/s one after another, %.1f as a pipeline: %.2f times\n",
                cut->blocks, cut->devices, rates[0], rates[1], rates[1] / rates[0]);
        json_object_set_new(result, "sequential_images_per_s", json_real(rates[0]));
        json_object_set_new(result, "ppll_images_per_s", json_real(rates[1]));
    }
    json_object_set_new(result, "sequential_busy_seconds", busy[0]);
    json_object_set_new(result, "ppll_busy_seconds", busy[1]);
    return status;
}

static lam_status time_cut(struct gpu_check *check, const void *context, json_t *result) {
    const struct cut *cut = context;
    struct bench_network network = {.batch = 0};
    struct bench_chain_options options = {
        .network = &network,
        .devices = check->devices,
        .device_count = cut->devices,
        .queue = 2,
        .blocks = cut->blocks,
        .partition = check->quick ? "uniform" : "profiled",
        .precision = LAM_F32,
        .optimizer = lam_optimizer_default_options(LAM_OPTIMIZER_SGD),
    };
    LAM_TRY(lam_aux_find("dgl", &options.aux));
    LAM_TRY(lam_tuning_create(check->quick ? LAM_TUNING_FIXED : LAM_TUNING_MEASURE, &options.tuning));
    lam_status status = bench_network_open(check->quick ? "resnet20" : "resnet110", check->quick ? "8" : "32",
                                           10, check->quick ? 2 : 128, &network);
    if (status == LAM_OK) status = compare(check, cut, &options, result);
    bench_network_close(&network);
    lam_tuning_destroy(options.tuning);
    return status;
}

void gpu_check_pipelines(struct gpu_check *check, json_t *result) {
    if (check->device_count < 2) fprintf(check->out, "  there is one GPU: nothing to compare\n");
    for (int blocks = 2; blocks <= 4 && check->device_count > 1; blocks += 2) {
        struct cut cut = {blocks, check->device_count < blocks ? check->device_count : blocks};
        char name[32];
        json_t *of_cut = json_object();
        snprintf(name, sizeof name, "%d blocks", blocks);
        gpu_check_passed(check, name, gpu_check_apart(check, time_cut, &cut, of_cut));
        json_object_set_new(result, name, of_cut);
    }
}
