/* Measuring units, auxiliary networks and blocks. */
#include "local/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "local/stage.h"

enum { WARM_UP = 1, RUNS = 3 };

/* ---- a block on made-up data ---- */

struct trial {
    struct lam_block *block;
    struct lam_stage stage;
    struct lam_batch batch;
    int64_t *indices;
    void *output[LAM_MAX_FIELDS];
};

static size_t value_bytes(enum lam_dtype dtype, struct lam_shape shape, int batch) {
    /* Channels of a blocked layout are padded to groups of 16; that much more fits any layout. */
    size_t channels = shape.rank ? (size_t)shape.dim[0] : 1, padded = (channels + 15) / 16 * 16;
    return (size_t)lam_shape_count(shape) / channels * padded * lam_dtype_bytes(dtype) * (size_t)batch;
}

/* Labels stay zero. Activations do not: where all values are alike, layer norm multiplies gradients without bounds. */
static lam_status fill_noise(struct lam_device *device, void *data, enum lam_dtype dtype, size_t bytes) {
    size_t each = lam_dtype_bytes(dtype);
    if (dtype != LAM_F32 && dtype != LAM_BF16) return LAM_OK;
    char *host = malloc(bytes + 1);
    if (!host) return lam_no_memory();
    struct lam_rng rng = lam_rng_make(0, LAM_RNG_TEST, 1, bytes);
    for (size_t i = 0; i < bytes / each; i++) {
        float value = 2 * lam_rng_uniform(&rng) - 1;
        memcpy(host + i * each, (char *)&value + sizeof value - each, each); /* bf16: the upper half */
    }
    lam_status status = lam_device_upload(device, data, host, bytes);
    free(host);
    return status;
}

static lam_status make_up(struct trial *t, int place, enum lam_dtype dtype, struct lam_shape shape) {
    struct lam_device *device = t->stage.device;
    size_t bytes = value_bytes(dtype, shape, t->batch.count);
    LAM_TRY(lam_device_alloc(device, LAM_MEMORY_DATA, bytes, &t->batch.data[place]));
    return fill_noise(device, t->batch.data[place], dtype, bytes);
}

static lam_status open_trial(struct trial *t, struct lam_block *block) {
    const struct lam_block_options *options = lam_block_options(block);
    struct lam_device *device = lam_block_device(block);
    *t = (struct trial){.block = block, .stage = {.device = device, .blocks = &t->block, .count = 1}};
    t->indices = calloc((size_t)options->batch, sizeof *t->indices);
    if (!t->indices) return lam_no_memory();
    t->batch.count = options->batch;
    t->batch.indices = t->indices;
    LAM_TRY(lam_stage_allocate(&t->stage));
    LAM_TRY(lam_params_init(lam_block_params(block), 1));
    for (int f = options->first > 0 ? 1 : 0; f < options->network->field_count; f++)
        LAM_TRY(make_up(t, f, options->network->fields[f].dtype, options->network->fields[f].shape));
    for (int p = 0; p < LAM_BORDER_PARTS && options->first > 0; p++)
        if (options->in.part[p].present)
            LAM_TRY(make_up(t, lam_border_place(p), options->in.part[p].dtype, options->in.part[p].shape));
    for (int p = 0; p < LAM_BORDER_PARTS; p++)
        LAM_TRY(lam_device_alloc(device, LAM_MEMORY_QUEUE, lam_block_part_bytes(block, p),
                                 &t->output[lam_border_place(p)]));
    return LAM_OK;
}

static void close_trial(struct trial *t) {
    struct lam_device *device = t->stage.device;
    for (int f = 0; f < LAM_MAX_FIELDS; f++) lam_device_free(device, t->batch.data[f]);
    for (int f = 0; f < LAM_MAX_FIELDS; f++) lam_device_free(device, t->output[f]);
    lam_stage_free(&t->stage);
    free(t->indices);
}

static lam_status run_trial(struct trial *t, uint64_t step) {
    struct lam_block_step at = {
        .batch = &t->batch, .output = t->output, .learning_rate = 1e-6f, .seed = 1, .step = step};
    float loss;
    return lam_block_train(t->block, &at, &loss);
}

/* ---- units ---- */

/* A block of the unit and the one before it; with the auxiliary network, unless it is the network's last. */
static lam_status create_pair(const struct lam_chain_options *o, int unit, const struct lam_border *in,
                              struct lam_block **block) {
    bool last = unit == o->network->units - 1;
    struct lam_block_options options = {.network = o->network,
                                        .number = 1,
                                        .first = unit > 0 ? unit - 1 : 0,
                                        .last = unit,
                                        .next_last = o->network->units - 1,
                                        .aux = last ? NULL : o->aux,
                                        .aux_options = o->aux_options,
                                        .batch = o->batch,
                                        .precision = o->precision,
                                        .optimizer = o->optimizer,
                                        .tuning = o->tuning};
    if (options.first > 0) options.in = *in;
    return lam_block_create(&options, o->devices[0], block);
}

/* What the pair is made of, names left out: pairs with the same text cost the same. */
static lam_status pair_text(const struct lam_block *block, char **text) {
    *text = lam_block_text(block);
    return *text ? LAM_OK : lam_no_memory();
}

struct known_pair {
    char *text;
    double unit, aux;
};

static lam_status measure_pair(struct lam_block *block, int unit, int units, double *seconds, double *aux) {
    struct trial trial;
    struct lam_program *program = lam_block_program(block, LAM_BLOCK_TRAIN);
    lam_status status = open_trial(&trial, block);
    for (int i = 0; i < WARM_UP + RUNS && status == LAM_OK; i++) {
        if (i == WARM_UP) lam_program_profile(program, true);
        status = run_trial(&trial, (uint64_t)i);
    }
    *seconds = lam_program_tag_seconds(program, unit);
    *aux = lam_program_tag_seconds(program, units);
    close_trial(&trial);
    return status;
}

static lam_status look_up_or_measure(const struct lam_chain_options *o, struct lam_block *block, int unit,
                                     struct known_pair *known, int *count, struct known_pair *found) {
    char *text;
    LAM_TRY(pair_text(block, &text));
    for (int i = 0; i < *count; i++)
        if (!strcmp(known[i].text, text)) {
            *found = known[i];
            free(text);
            return LAM_OK;
        }
    *found = (struct known_pair){.text = text};
    lam_status status = measure_pair(block, unit, o->network->units, &found->unit, &found->aux);
    known[(*count)++] = *found; /* also after a failure: it owns the text */
    return status;
}

lam_status lam_profile_units(const struct lam_chain_options *o, double *unit, double *aux) {
    int units = o->network->units, count = 0;
    struct known_pair *known = calloc((size_t)units, sizeof *known), found;
    if (!known) return lam_no_memory();
    struct lam_border in = {0}, next = {0}; /* of the pair; of the pair after it */
    lam_status status = LAM_OK;
    for (int u = 0; u < units && status == LAM_OK; u++) {
        struct lam_block *block = NULL;
        status = create_pair(o, u, &in, &block);
        if (status == LAM_OK) status = look_up_or_measure(o, block, u, known, &count, &found);
        if (status == LAM_OK) {
            unit[u] = found.unit;
            aux[u] = u + 1 < units ? found.aux : 0;
            if (u + 1 == units) unit[u] += found.aux; /* the task's loss */
            in = next; /* the next pair starts with this unit: what the unit before gave */
            next = lam_block_border(block);
        }
        lam_block_destroy(block);
    }
    for (int i = 0; i < count; i++) free(known[i].text);
    free(known);
    return status;
}

/* ---- FLOPs ---- */

lam_status lam_profile_flops(const struct lam_chain_options *o, double *unit, double *aux) {
    int units = o->network->units;
    struct lam_border in = {0};
    for (int u = 0; u < units; u++) {
        struct lam_block_flops flops;
        struct lam_block_options options = {.network = o->network,
                                            .number = 1,
                                            .first = u,
                                            .last = u,
                                            .next_last = units - 1,
                                            .in = in,
                                            .aux = u + 1 < units ? o->aux : NULL,
                                            .aux_options = o->aux_options,
                                            .batch = 1,
                                            .precision = o->precision};
        LAM_TRY(lam_block_count_flops(&options, &flops, &in));
        unit[u] = flops.units * (double)o->batch;
        aux[u] = flops.aux * (double)o->batch;
    }
    return LAM_OK;
}

/* ---- blocks ---- */

static lam_status time_block(struct lam_block *block, double *seconds) {
    struct trial trial;
    lam_status status = open_trial(&trial, block);
    *seconds = 1e30;
    for (int i = 0; i < WARM_UP + RUNS && status == LAM_OK; i++) {
        double begin = lam_seconds();
        status = run_trial(&trial, (uint64_t)i);
        double took = lam_seconds() - begin;
        if (i >= WARM_UP && took < *seconds) *seconds = took;
    }
    close_trial(&trial);
    return status;
}

lam_status lam_profile_blocks(struct lam_block *const *blocks, int count, double *seconds) {
    for (int j = 0; j < count; j++) LAM_TRY(time_block(blocks[j], &seconds[j]));
    return LAM_OK;
}
