/* The list of parameters and their flat buffers. */
#include "graph/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

struct lam_params {
    struct lam_param *list;
    int count, capacity;
    struct lam_device *device; /* NULL: not allocated yet */
    int64_t trainable, decayed, buffered;
    float *values, *gradients, *buffers;
};

lam_status lam_params_create(struct lam_params **params) {
    *params = calloc(1, sizeof **params);
    return *params ? LAM_OK : lam_no_memory();
}

void lam_params_destroy(struct lam_params *p) {
    if (!p) return;
    if (p->device) {
        lam_device_free(p->device, p->values);
        lam_device_free(p->device, p->gradients);
        lam_device_free(p->device, p->buffers);
    }
    for (int i = 0; i < p->count; i++) {
        free(p->list[i].name);
        free(p->list[i].values);
    }
    free(p->list);
    free(p);
}

void lam_params_freeze(struct lam_params *p, int index) {
    p->list[index].frozen = true;
}

int lam_params_size(const struct lam_params *p) {
    return p->count;
}
const struct lam_param *lam_params_get(const struct lam_params *p, int index) {
    return &p->list[index];
}
int64_t lam_params_count(const struct lam_params *p) {
    return p->trainable;
}
int64_t lam_params_decayed_count(const struct lam_params *p) {
    return p->decayed;
}
int64_t lam_params_buffer_count(const struct lam_params *p) {
    return p->buffered;
}
float *lam_params_values(const struct lam_params *p) {
    return p->values;
}
float *lam_params_gradients(const struct lam_params *p) {
    return p->gradients;
}
float *lam_params_buffers(const struct lam_params *p) {
    return p->buffers;
}

int lam_params_find(const struct lam_params *p, const char *name) {
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->list[i].name, name)) return i;
    return -1;
}

/* Offsets: with weight decay first, then without; buffers on their own. Kept right after every declaration,
 * so that counts and forecasts are known before anything is allocated. */
static void lay_out(struct lam_params *p) {
    int64_t decayed = 0, plain = 0, buffered = 0;
    for (int i = 0; i < p->count; i++)
        if (!p->list[i].buffer && p->list[i].decay) decayed += p->list[i].count;
    p->decayed = decayed;
    decayed = 0;
    for (int i = 0; i < p->count; i++) {
        struct lam_param *param = &p->list[i];
        int64_t *end = param->buffer ? &buffered : param->decay ? &decayed : &plain;
        param->offset = *end + (end == &plain ? p->decayed : 0);
        *end += param->count;
    }
    p->trainable = p->decayed + plain;
    p->buffered = buffered;
}

lam_status lam_params_declare(struct lam_params *p, const char *name, struct lam_shape shape,
                              struct lam_init init, bool decay, bool buffer, int *index) {
    int found = lam_params_find(p, name);
    if (found >= 0) {
        const struct lam_param *old = &p->list[found];
        if (!lam_shape_equal(old->shape, shape) || old->buffer != buffer) {
            char was[96], is[96];
            return lam_fail(LAM_ERR_INVALID, "parameter '%s' is declared as %s and again as %s", name,
                            lam_shape_text(old->shape, was, sizeof was),
                            lam_shape_text(shape, is, sizeof is));
        }
        *index = found;
        return LAM_OK;
    }
    if (p->device) return lam_fail(LAM_ERR_INTERNAL, "parameter '%s' is declared after allocation", name);
    if (p->count == p->capacity) {
        int larger = p->capacity ? 2 * p->capacity : 64;
        struct lam_param *grown = realloc(p->list, (size_t)larger * sizeof *grown);
        if (!grown) return lam_no_memory();
        p->list = grown;
        p->capacity = larger;
    }
    char *copy = strdup(name);
    if (!copy) return lam_no_memory();
    p->list[p->count] = (struct lam_param){.name = copy,
                                           .shape = shape,
                                           .init = init,
                                           .decay = decay,
                                           .buffer = buffer,
                                           .count = lam_shape_count(shape)};
    *index = p->count++;
    lay_out(p);
    return LAM_OK;
}

lam_status lam_params_declare_constant(struct lam_params *p, const char *name, struct lam_shape shape,
                                       const float *values, int *index) {
    size_t bytes = (size_t)lam_shape_count(shape) * sizeof *values;
    bool again = lam_params_find(p, name) >= 0;
    LAM_TRY(lam_params_declare(p, name, shape, (struct lam_init){0}, false, true, index));
    struct lam_param *param = &p->list[*index];
    if (again) {
        if (param->values && !memcmp(param->values, values, bytes)) return LAM_OK;
        return lam_fail(LAM_ERR_INVALID, "constant '%s' is declared again with other values", name);
    }
    param->values = malloc(bytes);
    if (!param->values) {
        free(p->list[--p->count].name);
        lay_out(p);
        return lam_no_memory();
    }
    memcpy(param->values, values, bytes);
    return LAM_OK;
}

static lam_status write_constants(struct lam_params *p) {
    for (int i = 0; i < p->count; i++)
        if (p->list[i].values) LAM_TRY(lam_params_write(p, i, p->list[i].values));
    return LAM_OK;
}

lam_status lam_params_allocate(struct lam_params *p, struct lam_device *device) {
    if (p->device) return lam_fail(LAM_ERR_INTERNAL, "parameters are allocated already");
    void *values = NULL, *gradients = NULL, *buffers = NULL;
    lam_status status =
        lam_device_alloc(device, LAM_MEMORY_PARAMETERS, (size_t)p->trainable * sizeof(float), &values);
    if (status == LAM_OK)
        status =
            lam_device_alloc(device, LAM_MEMORY_GRADIENTS, (size_t)p->trainable * sizeof(float), &gradients);
    if (status == LAM_OK)
        status =
            lam_device_alloc(device, LAM_MEMORY_PARAMETERS, (size_t)p->buffered * sizeof(float), &buffers);
    if (status != LAM_OK) {
        lam_device_free(device, values);
        lam_device_free(device, gradients);
        return status;
    }
    p->values = values;
    p->gradients = gradients;
    p->buffers = buffers;
    p->device = device;
    return write_constants(p);
}

static float draw(struct lam_rng *rng, struct lam_init init) {
    switch (init.kind) {
    case LAM_INIT_CONSTANT:
        return init.a;
    case LAM_INIT_NORMAL:
        return init.a * lam_rng_normal(rng);
    case LAM_INIT_UNIFORM:
        return init.a * (2 * lam_rng_uniform(rng) - 1);
    case LAM_INIT_TRUNC_NORMAL:
        for (;;) {
            float x = lam_rng_normal(rng);
            if (x >= -2 && x <= 2) return init.a * x;
        }
    }
    return 0;
}

lam_status lam_params_draw(const struct lam_params *p, struct lam_device *device, uint64_t seed,
                           float *values, float *buffers) {
    for (int i = 0; i < p->count; i++) {
        const struct lam_param *param = &p->list[i];
        float *host = malloc((size_t)param->count * sizeof *host);
        if (!host) return lam_no_memory();
        struct lam_rng rng = lam_rng_make(seed, LAM_RNG_INIT, lam_hash_text(param->name), 0);
        for (int64_t k = 0; k < param->count; k++)
            host[k] = param->values ? param->values[k] : draw(&rng, param->init);
        float *to = (param->buffer ? buffers : values) + param->offset;
        lam_status status = lam_device_upload(device, to, host, (size_t)param->count * sizeof *host);
        free(host);
        LAM_TRY(status);
    }
    return LAM_OK;
}

lam_status lam_params_init(struct lam_params *p, uint64_t seed) {
    if (!p->device) return lam_fail(LAM_ERR_INTERNAL, "parameters are not allocated yet");
    return lam_params_draw(p, p->device, seed, p->values, p->buffers);
}

static float *place(const struct lam_params *p, int index) {
    const struct lam_param *param = &p->list[index];
    return (param->buffer ? p->buffers : p->values) + param->offset;
}

lam_status lam_params_read(const struct lam_params *p, int index, float *host) {
    return lam_device_download(p->device, host, place(p, index),
                               (size_t)p->list[index].count * sizeof(float));
}

lam_status lam_params_write(struct lam_params *p, int index, const float *host) {
    return lam_device_upload(p->device, place(p, index), host, (size_t)p->list[index].count * sizeof(float));
}
