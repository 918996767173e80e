/* Between a block's flat buffers and the named tensors of a checkpoint. */
#include "train/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

/* "optimizer.momentum.NAME", "ema.NAME" */
static char *state_name(const char *state, const char *name) {
    return !strcmp(state, "ema") ? lam_format("ema.%s", name) : lam_format("optimizer.%s.%s", state, name);
}

/* NULL: in another process. */
static float *weight(const struct lam_params *params, const struct lam_param *param) {
    float *base = param->buffer ? lam_params_buffers(params) : lam_params_values(params);
    return base ? base + param->offset : NULL;
}

/* ---- save ---- */

typedef lam_status (*visit_array)(void *context, const char *name, const struct lam_param *param,
                                  float *data);

/* Calls visit for each array of a block: weights, then each optimizer state; in file order. */
static lam_status each_array(const struct lam_block *block, visit_array visit, void *context) {
    const struct lam_params *params = lam_block_params(block);
    const struct lam_optimizer *optimizer = lam_block_optimizer(block); /* NULL: of another process */
    const char *states[LAM_OPTIMIZER_STATES];
    int state_count = lam_optimizer_state_names(&lam_block_options(block)->optimizer, states);
    for (int i = 0; i < lam_params_size(params); i++) {
        const struct lam_param *param = lam_params_get(params, i);
        if (!param->values) LAM_TRY(visit(context, param->name, param, weight(params, param)));
    }
    for (int s = 0; s < state_count; s++)
        for (int i = 0; i < lam_params_size(params); i++) {
            const struct lam_param *param = lam_params_get(params, i);
            if (param->buffer) continue;
            char *name = state_name(states[s], param->name);
            if (!name) return lam_no_memory();
            float *data = optimizer ? lam_optimizer_state(optimizer, s) + param->offset : NULL;
            lam_status status = visit(context, name, param, data);
            free(name);
            LAM_TRY(status);
        }
    return LAM_OK;
}

/* Calls visit for each array of the older versions that a block's twins have still to read, newest first. */
static lam_status each_version(const struct lam_pipeline *pipeline, int j, const struct lam_block *block,
                               uint64_t step, visit_array visit, void *context) {
    const struct lam_params *params = lam_block_params(block);
    int older = lam_pipeline_older_versions(pipeline, j, step);
    for (int age = 1; age <= older; age++) {
        float *data = lam_pipeline_version(pipeline, j, step - (uint64_t)age);
        for (int i = 0; i < lam_params_size(params); i++) {
            const struct lam_param *param = lam_params_get(params, i);
            const char *of = lam_block_twin_of(block, i);
            if (!of) continue;
            char *name = lam_format("lag.%d.%s", age, of);
            lam_status status = name ? visit(context, name, param, data) : lam_no_memory();
            free(name);
            LAM_TRY(status);
            data = data ? data + param->count : NULL; /* NULL: in another process */
        }
    }
    return LAM_OK;
}

/* All of block j that is saved. */
static lam_status each_saved(const struct lam_snapshot *snapshot, int j, visit_array visit, void *context) {
    const struct lam_block *block = snapshot->blocks[j];
    LAM_TRY(each_array(block, visit, context));
    return each_version(snapshot->pipeline, j, block, snapshot->position->step, visit, context);
}

static lam_status declare(void *context, const char *name, const struct lam_param *param, float *data) {
    (void)data;
    return lam_checkpoint_declare(context, name, LAM_F32, param->shape);
}

/* Where a block's arrays go. */
struct copy {
    struct lam_device *device;
    struct lam_checkpoint_writer *writer; /* into a checkpoint; NULL: give */
    const struct lam_snapshot *fetch_for; /* they come from another process; NULL: they are here */
    int rank;
    lam_status (*give)(void *context, const void *host, size_t bytes);
    void *context;
};

static lam_status copy_array(void *context, const char *name, const struct lam_param *param, float *data) {
    (void)name;
    const struct copy *copy = context;
    const struct lam_snapshot *from = copy->fetch_for;
    size_t bytes = (size_t)param->count * sizeof *data;
    float *host = malloc(bytes + 1);
    if (!host) return lam_no_memory();
    lam_status status = from ? from->fetch(from->context, copy->rank, host, bytes)
                             : lam_device_download(copy->device, host, data, bytes);
    if (status == LAM_OK)
        status = copy->writer ? lam_checkpoint_write(copy->writer, host, bytes)
                              : copy->give(copy->context, host, bytes);
    free(host);
    return status;
}

lam_status lam_snapshot_give(const struct lam_snapshot *s,
                             lam_status (*give)(void *context, const void *host, size_t bytes),
                             void *context) {
    for (int j = 0; j < s->block_count; j++) {
        if (!lam_pipeline_has_block(s->pipeline, j)) continue;
        struct copy copy = {.device = lam_block_device(s->blocks[j]), .give = give, .context = context};
        LAM_TRY(each_saved(s, j, copy_array, &copy));
    }
    return LAM_OK;
}

/* The block's arrays, from wherever they are. */
static lam_status write_block(const struct lam_snapshot *s, int block, struct lam_checkpoint_writer *writer) {
    struct copy copy = {.device = lam_block_device(s->blocks[block]), .writer = writer};
    bool here = lam_pipeline_has_block(s->pipeline, block);
    if (!here) copy.fetch_for = s;
    if (!here) copy.rank = lam_pipeline_device_of(s->pipeline, block);
    return each_saved(s, block, copy_array, &copy);
}

static lam_status text_number(struct lam_checkpoint_writer *writer, const char *key, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    return lam_checkpoint_text(writer, key, text);
}

static lam_status text_count(struct lam_checkpoint_writer *writer, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return lam_checkpoint_text(writer, key, text);
}

/* "accuracy=0.5 loss=1.25" */
static lam_status text_scores(struct lam_checkpoint_writer *writer, const struct lam_position *position) {
    char text[1024] = "";
    size_t used = 0;
    for (int i = 0; i < position->score_count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%.17g", i ? " " : "",
                                 position->scores[i].name, position->scores[i].value);
    return lam_checkpoint_text(writer, "scores", text);
}

static const char *const samples_keys[] = {"train_samples", "val_samples"};
static const char *const hash_keys[] = {"train_hash", "val_hash"};

static lam_status write_data(struct lam_checkpoint_writer *w, const struct lam_data_identity *data) {
    for (int split = 0; split < 2; split++) {
        LAM_TRY(text_count(w, samples_keys[split], (uint64_t)data->samples[split]));
        LAM_TRY(text_count(w, hash_keys[split], data->hash[split]));
    }
    return LAM_OK;
}

static lam_status write_texts(struct lam_checkpoint_writer *w, const struct lam_snapshot *s) {
    const struct lam_position *at = s->position;
    LAM_TRY(lam_checkpoint_text(w, "format", LAM_SNAPSHOT_FORMAT));
    LAM_TRY(lam_checkpoint_text(w, "version", LAMINA_VERSION));
    LAM_TRY(lam_checkpoint_text(w, "task", s->task->name));
    LAM_TRY(lam_checkpoint_text(w, "recipe", s->recipe));
    LAM_TRY(text_count(w, "epoch", at->epoch));
    LAM_TRY(text_count(w, "batch", at->batch));
    LAM_TRY(text_count(w, "step", at->step));
    LAM_TRY(text_number(w, "loss_sum", at->loss_sum));
    LAM_TRY(text_number(w, "score_sum", at->score_sum));
    LAM_TRY(text_count(w, "samples", at->samples));
    if (at->has_best) LAM_TRY(text_number(w, "best", at->best));
    LAM_TRY(text_scores(w, at));
    LAM_TRY(text_count(w, "scored_at", at->scored_at));
    LAM_TRY(text_count(w, "metrics_lines", at->metrics_lines));
    LAM_TRY(text_count(w, "memory_lines", at->memory_lines));
    LAM_TRY(write_data(w, s->data));
    return s->task->save(s->state, w);
}

lam_status lam_snapshot_save(const struct lam_snapshot *snapshot, const char *path) {
    struct lam_checkpoint_writer *writer;
    LAM_TRY(lam_checkpoint_create(path, &writer));
    lam_status status = write_texts(writer, snapshot);
    for (int j = 0; j < snapshot->block_count && status == LAM_OK; j++)
        status = each_saved(snapshot, j, declare, writer);
    for (int j = 0; j < snapshot->block_count && status == LAM_OK; j++)
        status = write_block(snapshot, j, writer);
    if (status == LAM_OK) return lam_checkpoint_commit(writer);
    lam_checkpoint_abandon(writer);
    return status;
}

/* ---- load ---- */

static lam_status bad_text(const struct lam_checkpoint *c, const char *key) {
    return lam_fail(LAM_ERR_FORMAT, "%s: has no valid '%s'; it is not a checkpoint of a Lamina run",
                    lam_checkpoint_path(c), key);
}

static lam_status read_count(const struct lam_checkpoint *c, const char *key, uint64_t *value) {
    const char *text = lam_checkpoint_find_text(c, key);
    char *end;
    errno = 0;
    if (!text || *text < '0' || *text > '9') return bad_text(c, key);
    *value = strtoull(text, &end, 10);
    return *end || errno ? bad_text(c, key) : LAM_OK;
}

static lam_status read_number(const struct lam_checkpoint *c, const char *key, double *value) {
    const char *text = lam_checkpoint_find_text(c, key);
    char *end;
    if (!text) return bad_text(c, key);
    *value = strtod(text, &end);
    return end == text || *end ? bad_text(c, key) : LAM_OK;
}

static lam_status read_scores(const struct lam_checkpoint *c, struct lam_position *position) {
    const char *text = lam_checkpoint_find_text(c, "scores");
    if (!text) return bad_text(c, "scores");
    while (*text && position->score_count < LAM_MAX_SCORES) {
        size_t length = strcspn(text, "= ");
        char *end;
        struct lam_score *score = &position->scores[position->score_count++];
        if (text[length] != '=' || length >= sizeof score->name) return bad_text(c, "scores");
        memcpy(score->name, text, length);
        score->value = strtod(text + length + 1, &end);
        if (end == text + length + 1 || (*end && *end != ' ')) return bad_text(c, "scores");
        text = end + strspn(end, " ");
    }
    return LAM_OK;
}

lam_status lam_snapshot_position(const struct lam_checkpoint *c, struct lam_position *position) {
    struct lam_position at = {0};
    const char *format = lam_checkpoint_find_text(c, "format");
    if (!format || strcmp(format, LAM_SNAPSHOT_FORMAT) != 0) return bad_text(c, "format");
    LAM_TRY(read_count(c, "epoch", &at.epoch));
    LAM_TRY(read_count(c, "batch", &at.batch));
    LAM_TRY(read_count(c, "step", &at.step));
    LAM_TRY(read_number(c, "loss_sum", &at.loss_sum));
    LAM_TRY(read_number(c, "score_sum", &at.score_sum));
    LAM_TRY(read_count(c, "samples", &at.samples));
    at.has_best = lam_checkpoint_find_text(c, "best") != NULL;
    if (at.has_best) LAM_TRY(read_number(c, "best", &at.best));
    LAM_TRY(read_scores(c, &at));
    LAM_TRY(read_count(c, "scored_at", &at.scored_at));
    LAM_TRY(read_count(c, "metrics_lines", &at.metrics_lines));
    LAM_TRY(read_count(c, "memory_lines", &at.memory_lines));
    *position = at;
    return LAM_OK;
}

lam_status lam_snapshot_data(const struct lam_checkpoint *c, struct lam_data_identity *data) {
    struct lam_data_identity read;
    for (int split = 0; split < 2; split++) {
        uint64_t samples;
        LAM_TRY(read_count(c, samples_keys[split], &samples));
        LAM_TRY(read_count(c, hash_keys[split], &read.hash[split]));
        read.samples[split] = (int64_t)samples;
    }
    *data = read;
    return LAM_OK;
}

static lam_status load_array(const struct lam_checkpoint *c, struct lam_device *device, const char *name,
                             const struct lam_param *param, float *to) {
    int index = lam_checkpoint_find(c, name);
    if (index < 0)
        return lam_fail(LAM_ERR_FORMAT, "%s: has no tensor '%s'; was it trained with another model?",
                        lam_checkpoint_path(c), name);
    const struct lam_checkpoint_tensor *tensor = lam_checkpoint_get(c, index);
    char is[96], wanted[96];
    if (tensor->dtype != LAM_F32 || !lam_shape_equal(tensor->shape, param->shape))
        return lam_fail(LAM_ERR_FORMAT, "%s: tensor '%s' is %s %s, but f32 %s is needed",
                        lam_checkpoint_path(c), name, lam_dtype_name(tensor->dtype),
                        lam_shape_text(tensor->shape, is, sizeof is),
                        lam_shape_text(param->shape, wanted, sizeof wanted));
    float *host = malloc(tensor->bytes + 1);
    if (!host) return lam_no_memory();
    lam_status status = lam_checkpoint_read(c, index, host, tensor->bytes);
    if (status == LAM_OK) status = lam_device_upload(device, to, host, tensor->bytes);
    free(host);
    return status;
}

lam_status lam_snapshot_weights(const struct lam_checkpoint *c, struct lam_block *block, bool ema) {
    struct lam_params *params = lam_block_params(block);
    for (int i = 0; i < lam_params_size(params); i++) {
        const struct lam_param *param = lam_params_get(params, i);
        if (param->values) continue; /* a constant is there already */
        char *average = ema && !param->buffer ? state_name("ema", param->name) : NULL;
        bool use = average && lam_checkpoint_find(c, average) >= 0;
        lam_status status =
            load_array(c, lam_block_device(block), use ? average : param->name, param, weight(params, param));
        free(average);
        LAM_TRY(status);
    }
    return LAM_OK;
}

lam_status lam_snapshot_optimizer(const struct lam_checkpoint *c, struct lam_block *block) {
    const struct lam_params *params = lam_block_params(block);
    const struct lam_optimizer *optimizer = lam_block_optimizer(block);
    for (int s = 0; s < lam_optimizer_state_count(optimizer); s++)
        for (int i = 0; i < lam_params_size(params); i++) {
            const struct lam_param *param = lam_params_get(params, i);
            if (param->buffer) continue;
            char *name = state_name(lam_optimizer_state_name(optimizer, s), param->name);
            if (!name) return lam_no_memory();
            lam_status status = load_array(c, lam_block_device(block), name, param,
                                           lam_optimizer_state(optimizer, s) + param->offset);
            free(name);
            LAM_TRY(status);
        }
    return LAM_OK;
}

struct load {
    const struct lam_checkpoint *checkpoint;
    struct lam_device *device;
};

static lam_status read_array(void *context, const char *name, const struct lam_param *param, float *data) {
    const struct load *load = context;
    return load_array(load->checkpoint, load->device, name, param, data);
}

lam_status lam_snapshot_versions(const struct lam_checkpoint *c, struct lam_pipeline *pipeline, int j,
                                 const struct lam_block *block, uint64_t step) {
    struct load load = {c, lam_block_device(block)};
    return each_version(pipeline, j, block, step, read_array, &load);
}
