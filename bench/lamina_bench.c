/* lamina-bench: how fast, how close to the floor, how much memory.
 *
 *     lamina-bench step --model resnet32 --precision f32 --batch 128 --devices cpu:0-1 --profile
 *     lamina-bench pipeline --model resnet32 --method dgl --blocks 2 --devices cpu:0,cpu:1
 *     lamina-bench simulate --forward 0.01 --backward 0.02 --aux 0.003 --blocks 8 --link 12
 *     lamina-bench paper --model resnet110 --method dgl --blocks 4 --precision bf16
 *
 * step      times whole training steps (forward, loss, backward, update) on data that is already there, and
 *           compares them with the floor: FLOPs over the measured peak plus bytes over the measured bandwidth.
 * pipeline  times local learning and its schedules over several devices (pipeline.c).
 * simulate  runs pipeline schedules in a simulation fed with measured times (simulate.c).
 * paper     counts what a step asks of a GPU, and the time that it cannot go below there (paper.c).
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/options.h"
#include "bench/commands.h"
#include "bench/peak.h"
#include "bench/block.h"

struct config {
    char *model, *devices, *json, *tuning_file;
    int precision, tuning;
    int64_t batch, steps, classes;
    bool profile, plan, recompute, help;
    char *image_size;
};

static const char *const precisions[] = {"f32", "bf16", "tf32", NULL};
static const char *const tunings[] = {"measure", "fixed", NULL};

#define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
static const struct lam_option table[] = {
    ROW("model", TEXT, model, "resnet32", "What", .help = "network"),
    ROW("batch", INT, batch, "128", "What", LAM_RANGE(1, 65536), .help = "samples in a step"),
    ROW("precision", CHOICE, precision, "f32", "What", .choices = precisions, .help = "type of activations"),
    ROW("image-size", TEXT, image_size, "", "What", .placeholder = "PIXELS",
        .help = "side of a classifier's images, 32 if not given; WIDTHxHEIGHT for detectors; side of a patch "
                "for super-resolution"),
    ROW("classes", INT, classes, "10", "What", LAM_RANGE(2, 100000), .help = "of a classifier"),
    ROW("devices", TEXT, devices, "auto", "How", .help = "device: cpu:0, cpu:0-1"),
    ROW("steps", INT, steps, "10", "How", LAM_RANGE(1, 100000), .help = "steps to time; the median counts"),
    ROW("recompute", BOOL, recompute, "yes", "How", .help = "compute cheap values again, do not keep them"),
    ROW("tuning", CHOICE, tuning, "measure", "How", .choices = tunings,
        .help = "choose kernels and slices by measurement or by fixed rules"),
    ROW("tuning-file", TEXT, tuning_file, "", "How", .help = "record of measured choices, read and written"),
    ROW("profile", BOOL, profile, "no", "Output", .help = "time per op"),
    ROW("plan", BOOL, plan, "no", "Output", .help = "segments, slices and kernels"),
    ROW("json", TEXT, json, "", "Output", .placeholder = "FILE", .help = "write the numbers there"),
    ROW("help", BOOL, help, "no", "Output", .flags = LAM_OPTION_UNSAVED, .help = "this text"),
};

/* ---- step ---- */

struct bench {
    struct config config;
    struct lam_device *device;
    struct lam_tuning *tuning;
    struct bench_block block;
};

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
    lam_device_set_modes(b->device, (struct lam_device_modes){.tf32 = b->config.precision == 2,
                                                              .keep_all = !b->config.recompute});
    LAM_TRY(lam_tuning_create(b->config.tuning == 0 ? LAM_TUNING_MEASURE : LAM_TUNING_FIXED, &b->tuning));
    if (*b->config.tuning_file) LAM_TRY(lam_tuning_load(b->tuning, b->config.tuning_file));
    struct bench_block_options options = {
        .model = b->config.model,
        .image_size = b->config.image_size,
        .classes = (int)b->config.classes,
        .batch = (int)b->config.batch,
        .precision = b->config.precision == 1 ? LAM_BF16 : LAM_F32,
        .tuning = b->tuning,
    };
    LAM_TRY(bench_block_open(&options, b->device, &b->block));
    return *b->config.tuning_file ? lam_tuning_save(b->tuning, b->config.tuning_file) : LAM_OK;
}

static void tear_down(struct bench *b) {
    bench_block_close(&b->block);
    lam_tuning_destroy(b->tuning);
    lam_device_close(b->device);
}

static lam_status report(const struct bench *b, double seconds, const struct peak *peak) {
    struct bench_floor floor = bench_block_floor(
        &b->block, b->config.precision == 1 ? peak->bf16_flops : peak->f32_flops, peak->bytes);
    struct lam_program *program = lam_block_program(b->block.block, LAM_BLOCK_TRAIN);
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
    if (b->config.plan) lam_program_print(program, stdout);
    if (b->config.profile) lam_program_profile_print(program, stdout);
    return bench_write_json(
        b->config.json,
        json_pack("[{s:s, s:s, s:s, s:I, s:s, s:f, s:f, s:I, s:f, s:f, s:f, s:f}]", "benchmark", "step",
                  "model", b->config.model, "precision", precisions[b->config.precision], "batch",
                  (json_int_t)b->config.batch, "device", lam_device_name(b->device), "images_per_s", rate,
                  "seconds", seconds, "peak_bytes", (json_int_t)peak_bytes, "floor_seconds", floor.seconds,
                  "peak_gflops", 1e-9 * peak->f32_flops, "peak_gflops_bf16", 1e-9 * peak->bf16_flops,
                  "peak_gbytes", 1e-9 * peak->bytes));
}

static lam_status run_step(struct bench *b) {
    struct peak peak;
    double seconds = 0;
    if (*b->config.json) LAM_TRY(lam_check_output_file(b->config.json));
    LAM_TRY(set_up(b));
    LAM_TRY(peak_measure(b->device, &peak));
    LAM_TRY(bench_block_time(&b->block, (int)b->config.steps, b->config.profile, &seconds));
    return report(b, seconds, &peak);
}

lam_status bench_step(int argc, char **argv) {
    struct bench bench = {0};
    struct lam_options options = {.program = "lamina-bench step",
                                  .usage = "[options]",
                                  .tables = {{table, sizeof table / sizeof *table, &bench.config}},
                                  .table_count = 1};
    lam_status status = bench_options(&options, argc, argv, &bench.config.help);
    if (status == LAM_OK && !bench.config.help) status = run_step(&bench);
    tear_down(&bench);
    lam_options_free(&options);
    return status;
}

/* ---- what subcommands share ---- */

lam_status bench_options(struct lam_options *options, int argc, char **argv, const bool *help) {
    LAM_TRY(lam_options_defaults(options));
    LAM_TRY(lam_options_parse(options, argc, argv, NULL, 0, NULL));
    if (!*help) return LAM_OK;
    char *text;
    LAM_TRY(lam_options_help(options, &text));
    fputs(text, stdout);
    free(text);
    return LAM_OK;
}

lam_status bench_write_json(const char *path, json_t *list) {
    char *text = list ? json_dumps(list, JSON_INDENT(2)) : NULL;
    lam_status status = LAM_OK;
    if (!text)
        status = lam_no_memory();
    else if (*path)
        status = lam_file_write(path, text, strlen(text));
    free(text);
    json_decref(list);
    return status;
}

/* ---- the list of subcommands ---- */

static const struct command {
    const char *name, *help;
    lam_status (*run)(int argc, char **argv);
} commands[] = {
    {"step", "time training steps on a device", bench_step},
    {"pipeline", "time local learning under each schedule, over several devices", bench_pipeline},
    {"simulate", "pipeline schedules on more devices than this machine has", bench_simulate},
    {"paper", "what a step asks of a GPU that is not there: FLOPs, bytes, launches, least time", bench_paper},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(void) {
    puts("usage: lamina-bench COMMAND [options]\n");
    for (int i = 0; i < COMMANDS; i++) printf("  %-10s %s\n", commands[i].name, commands[i].help);
    puts("\nlamina-bench COMMAND --help tells a command's options.");
}

static lam_status run_command(int argc, char **argv) {
    if (argc < 2) return lam_fail(LAM_ERR_INVALID, "no command; lamina-bench --help lists them");
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    }
    const char *near = lam_nearest(argv[1], names, COMMANDS);
    if (near) return lam_fail(LAM_ERR_INVALID, "%s: no such command; did you mean %s?", argv[1], near);
    return lam_fail(LAM_ERR_INVALID, "%s: no such command; lamina-bench --help lists them", argv[1]);
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        print_usage();
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        printf("lamina-bench %s\n", LAMINA_VERSION);
        return 0;
    }
    lam_status status = run_command(argc, argv);
    if (status != LAM_OK) fprintf(stderr, "lamina-bench: %s\n", lam_error_text());
    return lam_exit_code(status);
}
