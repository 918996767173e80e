/* lamina-bench: how fast, how close to the floor, how much memory.
 *
 *     lamina-bench step --model resnet32 --precision f32 --batch 128 --devices cpu:0-1 --profile
 *
 * step    times whole training steps (forward, loss, backward, update) on data that is already there, and
 * compares them with the floor: FLOPs over the measured peak plus bytes over the measured bandwidth.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/options.h"
#include "base/rng.h"
#include "bench/peak.h"
#include "local/block.h"
#include "nn/model.h"

struct config {
    char *model, *devices, *json, *tuning_file;
    int precision, tuning;
    int64_t batch, steps, image_size, classes;
    bool profile, plan, help;
};

static const char *const precisions[] = {"f32", "bf16", NULL};
static const char *const tunings[] = {"measure", "fixed", NULL};

#define AT(field) offsetof(struct config, field)
static const struct lam_option table[] = {
    {.name = "model",
     .type = LAM_OPTION_TEXT,
     .offset = AT(model),
     .fallback = "resnet32",
     .group = "What",
     .help = "network"},
    {.name = "batch",
     .type = LAM_OPTION_INT,
     .offset = AT(batch),
     .fallback = "128",
     .min = 1,
     .max = 65536,
     .group = "What",
     .help = "samples in a step"},
    {.name = "precision",
     .type = LAM_OPTION_CHOICE,
     .offset = AT(precision),
     .choices = precisions,
     .group = "What",
     .help = "type of activations"},
    {.name = "image-size",
     .type = LAM_OPTION_INT,
     .offset = AT(image_size),
     .fallback = "32",
     .min = 8,
     .max = 1024,
     .group = "What",
     .help = "side of the image in pixels"},
    {.name = "classes",
     .type = LAM_OPTION_INT,
     .offset = AT(classes),
     .fallback = "10",
     .min = 2,
     .max = 100000,
     .group = "What",
     .help = "number of classes"},
    {.name = "devices",
     .type = LAM_OPTION_TEXT,
     .offset = AT(devices),
     .fallback = "auto",
     .group = "How",
     .help = "device: cpu:0, cpu:0-1"},
    {.name = "steps",
     .type = LAM_OPTION_INT,
     .offset = AT(steps),
     .fallback = "10",
     .min = 1,
     .max = 100000,
     .group = "How",
     .help = "steps to time; the median counts"},
    {.name = "tuning",
     .type = LAM_OPTION_CHOICE,
     .offset = AT(tuning),
     .choices = tunings,
     .group = "How",
     .help = "choose kernels and slices by measurement or by fixed rules"},
    {.name = "tuning-file",
     .type = LAM_OPTION_TEXT,
     .offset = AT(tuning_file),
     .group = "How",
     .help = "record of measured choices, read and written"},
    {.name = "profile",
     .type = LAM_OPTION_BOOL,
     .offset = AT(profile),
     .group = "Output",
     .help = "time per op"},
    {.name = "plan",
     .type = LAM_OPTION_BOOL,
     .offset = AT(plan),
     .group = "Output",
     .help = "segments, slices and kernels"},
    {.name = "json",
     .type = LAM_OPTION_TEXT,
     .offset = AT(json),
     .group = "Output",
     .placeholder = "FILE",
     .help = "write the numbers there"},
    {.name = "help",
     .type = LAM_OPTION_BOOL,
     .offset = AT(help),
     .group = "Output",
     .flags = LAM_OPTION_UNSAVED,
     .help = "this text"},
};

/* ---- the network: units of a model and cross entropy ---- */

static const char *unit_name(void *context, int unit, char *text, size_t size) {
    return lam_model_unit_name(context, unit, text, size);
}

static lam_value build_unit(void *context, struct lam_graph *graph, int unit, lam_value x) {
    return lam_model_build_unit(context, graph, unit, x);
}

static lam_value build_output(void *context, struct lam_graph *graph, lam_value x, const lam_value *inputs) {
    (void)context;
    if (!lam_graph_training(graph)) {
        lam_graph_output(graph, "logits", x);
        return LAM_NO_VALUE;
    }
    lam_value loss = lam_cross_entropy(graph, x, inputs[1], 0, NULL);
    lam_graph_output(graph, "loss", loss);
    return loss;
}

/* ---- step ---- */

struct bench {
    struct config config;
    struct lam_device *device;
    struct lam_model *model;
    struct lam_network network;
    struct lam_field fields[2];
    struct lam_tuning *tuning;
    struct lam_block *block;
    struct lam_batch batch;
};

static lam_status make_batch(struct bench *b) {
    int64_t images = b->config.batch * 3 * b->config.image_size * b->config.image_size;
    void *data[2];
    LAM_TRY(lam_device_alloc(b->device, LAM_MEMORY_DATA, (size_t)images * sizeof(float), &data[0]));
    LAM_TRY(
        lam_device_alloc(b->device, LAM_MEMORY_DATA, (size_t)b->config.batch * sizeof(int32_t), &data[1]));
    float *host = malloc((size_t)images * sizeof *host);
    int32_t *labels = malloc((size_t)b->config.batch * sizeof *labels);
    if (!host || !labels) {
        free(host);
        free(labels);
        return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
    }
    struct lam_rng rng = lam_rng_make(1, LAM_RNG_TEST, 0, 0);
    for (int64_t i = 0; i < images; i++) host[i] = lam_rng_normal(&rng);
    for (int64_t i = 0; i < b->config.batch; i++)
        labels[i] = (int32_t)lam_rng_below(&rng, (uint32_t)b->config.classes);
    lam_status status = lam_device_upload(b->device, data[0], host, (size_t)images * sizeof *host);
    if (status == LAM_OK)
        status = lam_device_upload(b->device, data[1], labels, (size_t)b->config.batch * sizeof *labels);
    free(host);
    free(labels);
    b->batch = (struct lam_batch){.count = (int)b->config.batch, .data = {data[0], data[1]}};
    return status;
}

static lam_status set_up(struct bench *b) {
    char **names;
    int count;
    LAM_TRY(lam_device_list_parse(b->config.devices, &names, &count));
    lam_status status = count == 1
                            ? lam_device_open(names[0], 0, &b->device)
                            : lam_fail(LAM_ERR_INVALID, "step takes one device; write cpu:0-1 for two cores");
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    LAM_TRY(status);
    struct lam_model_options options = {
        .image_size = (int)b->config.image_size, .channels = 3, .classes = (int)b->config.classes};
    LAM_TRY(lam_model_create(b->config.model, &options, &b->model));
    b->fields[0] =
        (struct lam_field){"image", LAM_F32, LAM_SHAPE(3, b->config.image_size, b->config.image_size)};
    b->fields[1] = (struct lam_field){"label", LAM_I32, LAM_SCALAR};
    b->network = (struct lam_network){.context = b->model,
                                      .units = lam_model_units(b->model),
                                      .fields = b->fields,
                                      .field_count = 2,
                                      .unit_name = unit_name,
                                      .build_unit = build_unit,
                                      .build_output = build_output};
    LAM_TRY(lam_tuning_create(b->config.tuning == 0 ? LAM_TUNING_MEASURE : LAM_TUNING_FIXED, &b->tuning));
    if (*b->config.tuning_file) LAM_TRY(lam_tuning_load(b->tuning, b->config.tuning_file));
    bool adam = strncmp(b->config.model, "vit", 3) == 0;
    struct lam_block_options block = {
        .network = &b->network,
        .last = b->network.units - 1,
        .batch = (int)b->config.batch,
        .precision = b->config.precision ? LAM_BF16 : LAM_F32,
        .optimizer = lam_optimizer_default_options(adam ? LAM_OPTIMIZER_ADAMW : LAM_OPTIMIZER_SGD),
        .tuning = b->tuning,
    };
    LAM_TRY(lam_block_create(&block, b->device, &b->block));
    if (*b->config.tuning_file) LAM_TRY(lam_tuning_save(b->tuning, b->config.tuning_file));
    lam_device_memory_reset_peak(b->device);
    LAM_TRY(lam_block_allocate(b->block));
    LAM_TRY(lam_params_init(lam_block_params(b->block), 1));
    return make_batch(b);
}

static void tear_down(struct bench *b) {
    lam_block_destroy(b->block);
    lam_tuning_destroy(b->tuning);
    lam_model_destroy(b->model);
    lam_device_close(b->device);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static lam_status time_steps(struct bench *b, double *median) {
    enum { WARM_UP = 2 };
    int64_t steps = b->config.steps;
    double *seconds = calloc((size_t)steps, sizeof *seconds);
    if (!seconds) return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
    lam_status status = LAM_OK;
    float loss;
    for (int64_t i = -WARM_UP; i < steps && status == LAM_OK; i++) {
        if (i == 0 && b->config.profile)
            lam_program_profile(lam_block_program(b->block, LAM_BLOCK_TRAIN), true);
        double start = lam_seconds();
        status = lam_block_train(b->block, &b->batch, 1e-3f, 1, (uint64_t)(i + WARM_UP), &loss);
        if (i >= 0) seconds[i] = lam_seconds() - start;
    }
    qsort(seconds, (size_t)steps, sizeof *seconds, ascending);
    *median = seconds[steps / 2];
    free(seconds);
    return status;
}

struct floor_time {
    double flops, bytes, seconds;
};

/* What no implementation of this step can go below: every multiply-add once, every kept value written and
 * read once, every parameter read twice and its gradient and optimizer state passed over once. */
static struct floor_time find_floor(const struct bench *b, const struct peak *peak) {
    double parameters = (double)lam_params_count(lam_block_params(b->block)) * sizeof(float);
    struct floor_time f = {
        .flops = lam_block_forward_flops(b->block) + lam_block_backward_flops(b->block),
        .bytes = 2.0 * (double)lam_program_activation_bytes(lam_block_program(b->block, LAM_BLOCK_TRAIN)) +
                 8 * parameters,
    };
    f.seconds = f.flops / (b->config.precision ? peak->bf16_flops : peak->f32_flops) + f.bytes / peak->bytes;
    return f;
}

static lam_status report(const struct bench *b, double seconds, const struct peak *peak) {
    struct floor_time floor = find_floor(b, peak);
    double rate = (double)b->config.batch / seconds;
    size_t peak_bytes = lam_device_memory_total(b->device).peak;
    char text[32];
    printf("%s on %s (%s)\n", b->config.model, lam_device_name(b->device), lam_device_describe(b->device));
    printf("peak      %8.1f GFLOP/s f32, %.1f bf16, %.1f GB/s\n", 1e-9 * peak->f32_flops,
           1e-9 * peak->bf16_flops, 1e-9 * peak->bytes);
    printf("step      %8.2f ms   %.1f images/s, %.1f GFLOP/s\n", 1e3 * seconds, rate,
           1e-9 * floor.flops / seconds);
    printf("floor     %8.2f ms   %.2f GFLOP and %.1f MB; the step takes %.2f times that\n",
           1e3 * floor.seconds, 1e-9 * floor.flops, 1e-6 * floor.bytes, seconds / floor.seconds);
    printf("memory    %s peak\n", lam_bytes_text(peak_bytes, text, sizeof text));
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
        printf("  %-12s %s\n", lam_memory_kind_name(kind),
               lam_bytes_text(lam_device_memory(b->device, kind).peak, text, sizeof text));
    if (b->config.plan) lam_program_print(lam_block_program(b->block, LAM_BLOCK_TRAIN), stdout);
    if (b->config.profile) lam_program_profile_print(lam_block_program(b->block, LAM_BLOCK_TRAIN), stdout);
    if (!*b->config.json) return LAM_OK;
    json_t *list = json_pack("[{s:s, s:s, s:s, s:I, s:s, s:f, s:f, s:I, s:f, s:f, s:f, s:f}]", "benchmark",
                             "step", "model", b->config.model, "precision", precisions[b->config.precision],
                             "batch", (json_int_t)b->config.batch, "device", lam_device_name(b->device),
                             "images_per_s", rate, "seconds", seconds, "peak_bytes", (json_int_t)peak_bytes,
                             "floor_seconds", floor.seconds, "peak_gflops", 1e-9 * peak->f32_flops,
                             "peak_gflops_bf16", 1e-9 * peak->bf16_flops, "peak_gbytes", 1e-9 * peak->bytes);
    char *json = list ? json_dumps(list, JSON_INDENT(2)) : NULL;
    lam_status status = json ? lam_file_write(b->config.json, json, strlen(json))
                             : lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
    free(json);
    json_decref(list);
    return status;
}

static lam_status bench_step(struct bench *b) {
    struct peak peak;
    double seconds = 0;
    if (*b->config.json) LAM_TRY(lam_check_output_file(b->config.json));
    LAM_TRY(set_up(b));
    LAM_TRY(peak_measure(b->device, &peak));
    LAM_TRY(time_steps(b, &seconds));
    return report(b, seconds, &peak);
}

static lam_status print_help(const struct lam_options *options) {
    char *text;
    LAM_TRY(lam_options_help(options, &text));
    fputs(text, stdout);
    free(text);
    return LAM_OK;
}

/* argv without the program's name: "step", then its options. */
static lam_status run_command(int argc, char **argv) {
    struct bench bench = {0};
    struct lam_options options = {.program = "lamina-bench step",
                                  .usage = "[options]",
                                  .tables = {{table, sizeof table / sizeof *table, &bench.config}},
                                  .table_count = 1};
    lam_status status = lam_options_defaults(&options);
    if (status == LAM_OK) status = lam_options_parse(&options, argc, argv, NULL, 0, NULL);
    if (status == LAM_OK) status = bench.config.help ? print_help(&options) : bench_step(&bench);
    tear_down(&bench);
    lam_options_free(&options);
    return status;
}

int main(int argc, char **argv) {
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "--version")) {
        printf("lamina-bench %s\n", LAMINA_VERSION);
        return 0;
    }
    lam_status status;
    if (!*command || !strcmp(command, "--help"))
        status = run_command(2, (char *[]){"step", "--help", NULL});
    else if (!strcmp(command, "step"))
        status = run_command(argc - 1, argv + 1);
    else
        status = lam_fail(LAM_ERR_INVALID, "there is no command '%.60s'; there is step", command);
    if (status != LAM_OK) fprintf(stderr, "lamina-bench: %s\n", lam_error_text());
    return lam_exit_code(status);
}
