/* Whole training steps: how long, how far from the floor that the measured rates set, with recordings and without, and whether
 * memory is as it was forecast. */
#include <math.h>
#include <string.h>

#include "apps/gpu_check.h"
#include "apps/gpu_check_rates.h"
#include "base/files.h"
#include "bench/block.h"

struct network {
    const char *name, *image_size;
    int batch;
};
static const struct network large[] = {{"resnet110", "32", 128},
                                       {"vit-tiny", "32", 128},
                                       {"edsr-baseline", "48", 16}},
                            small[] = {{"resnet20", "8", 2}, {"vit-micro", "16", 2}, {"edsr-small", "8", 1}};
enum { NETWORKS = sizeof large / sizeof *large };

static const char *const precisions[] = {"f32", "tf32", "bf16"};

struct step_case {
    const struct network *network;
    const char *precision;
    const char *device;
};

struct measured {
    double seconds[2]; /* recorded; launched one by one */
    size_t peak_bytes;
    struct bench_floor floor;
};

/* ---- one step ---- */

static void check_memory(struct gpu_check *check, const struct step_case *c,
                         const struct bench_block *block) {
    struct lam_block_memory forecast = lam_stage_memory(&block->stage);
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++) {
        size_t peak = lam_device_memory(block->device, (enum lam_memory_kind)kind).peak;
        if (kind != LAM_MEMORY_DATA && peak != forecast.bytes[kind])
            gpu_check_failed(check, "%s %s: %s were forecast as %zu bytes, and are %zu", c->network->name,
                             c->precision, lam_memory_kind_name((enum lam_memory_kind)kind),
                             forecast.bytes[kind], peak);
    }
}

static lam_status measure(struct gpu_check *check, const struct step_case *c, struct lam_device *device,
                          struct lam_tuning *tuning, struct measured *m) {
    int each = lam_device_modes(device).launch_each;
    struct bench_block_options options = {
        .model = c->network->name,
        .image_size = c->network->image_size,
        .classes = 10,
        .batch = c->network->batch,
        .precision = !strcmp(c->precision, "bf16") ? LAM_BF16 : LAM_F32,
        .tuning = tuning,
    };
    struct bench_block block = {.device = device};
    lam_status status = bench_block_open(&options, device, &block);
    if (status == LAM_OK) status = bench_block_time(&block, check->quick ? 1 : 20, false, &m->seconds[each]);
    if (status == LAM_OK) {
        check_memory(check, c, &block);
        m->peak_bytes = lam_device_memory_total(device).peak;
        m->floor = bench_block_floor(&block, gpu_check_flops_rate(check, c->device, c->precision),
                                     gpu_check_bytes_rate(check, c->device));
    }
    bench_block_close(&block);
    return status;
}

static lam_status measure_both(struct gpu_check *check, const struct step_case *c, struct measured *m) {
    struct lam_tuning *tuning;
    LAM_TRY(lam_tuning_create(check->quick ? LAM_TUNING_FIXED : LAM_TUNING_MEASURE, &tuning));
    lam_status status = LAM_OK;
    for (int each = 0; each < 2 && status == LAM_OK; each++) {
        struct lam_device *device;
        status = lam_device_open(c->device, 0, &device);
        if (status != LAM_OK) break;
        struct lam_device_modes modes = {.tf32 = !strcmp(c->precision, "tf32"), .launch_each = each};
        lam_device_set_modes(device, modes);
        status = measure(check, c, device, tuning, m);
        lam_device_close(device);
    }
    lam_tuning_destroy(tuning);
    return status;
}

static lam_status time_step(struct gpu_check *check, const void *context, json_t *result) {
    const struct step_case *c = context;
    struct measured m = {.peak_bytes = 0};
    char bytes[32];
    LAM_TRY(measure_both(check, c, &m));
    double rate = c->network->batch / m.seconds[0];
    fprintf(check->out, "  %-14s %-5s %9.2f %9.2f %10.1f %9.2f %7.2f  %s\n", c->network->name, c->precision,
            1e3 * m.seconds[0], 1e3 * m.seconds[1], rate, 1e3 * m.floor.seconds,
            m.seconds[0] / m.floor.seconds, lam_bytes_text(m.peak_bytes, bytes, sizeof bytes));
    json_t *numbers =
        json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:I}", "batch", c->network->batch, "seconds", m.seconds[0],
                  "seconds_launch_each", m.seconds[1], "images_per_s", rate, "flops", m.floor.flops,
                  "floor_bytes", m.floor.bytes, "peak_bytes", (json_int_t)m.peak_bytes);
    if (isfinite(m.floor.seconds)) json_object_set_new(numbers, "floor_seconds", json_real(m.floor.seconds));
    json_object_set_new(result, c->precision, numbers);
    return LAM_OK;
}

void gpu_check_steps(struct gpu_check *check, json_t *result) {
    fprintf(check->out, "  on %s; batches of %s\n", check->devices[0],
            check->quick ? "1 or 2" : "128 images, of 16 patches for edsr");
    fprintf(check->out, "  %-14s %-5s %9s %9s %10s %9s %7s  %s\n", "network", "", "ms", "no graphs",
            "images/s", "floor ms", "times", "memory's peak");
    for (int n = 0; n < NETWORKS; n++) {
        const struct network *network = check->quick ? &small[n] : &large[n];
        json_t *of_network = json_object();
        for (int p = 0; p < 3; p++) {
            struct step_case c = {network, precisions[p], check->devices[0]};
            char what[64];
            snprintf(what, sizeof what, "%s %s", network->name, precisions[p]);
            gpu_check_passed(check, what, gpu_check_apart(check, time_step, &c, of_network));
        }
        json_object_set_new(result, network->name, of_network);
    }
}
