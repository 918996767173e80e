/* The parameters of one block: names, shapes, initial values, and the flat buffers they live in.
 *
 * Trainable parameters stand one after another in one flat f32 buffer; gradients and each optimizer state
 * have the same layout, so an update, an EMA copy or a checkpoint entry is one pass over one buffer.
 * Parameters with weight decay come first, then those without. Buffers (running statistics) stand in a second
 * flat buffer.
 *
 *     struct lam_params *params;
 *     LAM_TRY(lam_params_create(&params));
 *     ... build graphs that declare parameters by name (graph.h); training and evaluation share them ...
 *     LAM_TRY(lam_params_allocate(params, device));           // freezes the list
 *     LAM_TRY(lam_params_init(params, seed));
 */
#ifndef LAM_GRAPH_PARAMS_H
#define LAM_GRAPH_PARAMS_H

#include "device/device.h"

enum lam_init_kind {
    LAM_INIT_CONSTANT,     /* a */
    LAM_INIT_NORMAL,       /* mean 0, deviation a */
    LAM_INIT_UNIFORM,      /* in [-a, a) */
    LAM_INIT_TRUNC_NORMAL, /* mean 0, deviation a, redrawn outside 2 deviations */
};
struct lam_init {
    enum lam_init_kind kind;
    float a;
};

struct lam_param {
    char *name; /* "unit.layer.tensor" */
    struct lam_shape shape;
    struct lam_init init;
    bool decay;  /* weight decay applies */
    bool buffer; /* not trained */
    bool frozen; /* a buffer in a trained parameter's place (lam_graph_freeze) */
    float *
        values; /* not NULL: a constant, a buffer that has these values from allocation on and is in no checkpoint */
    int64_t offset; /* elements, into the flat buffer of its sort; set by lam_params_allocate */
    int64_t count;
};

struct lam_params;

lam_status lam_params_create(struct lam_params **params);
void lam_params_destroy(struct lam_params *params);

/* Declares a parameter, or finds the one of that name (then shape and sort must agree). *index: its number.
 */
lam_status lam_params_declare(struct lam_params *params, const char *name, struct lam_shape shape,
                              struct lam_init init, bool decay, bool buffer, int *index);

/* Declares a buffer of given values, which are copied. Declared again, it must have the same. */
lam_status lam_params_declare_constant(struct lam_params *params, const char *name, struct lam_shape shape,
                                       const float *values, int *index);

/* Marks a buffer as frozen. */
void lam_params_freeze(struct lam_params *params, int index);

int lam_params_size(const struct lam_params *params);
const struct lam_param *lam_params_get(const struct lam_params *params, int index);
int lam_params_find(const struct lam_params *params, const char *name); /* -1: none */

/* Elements of the flat buffers: trainable, of which the first `decayed` have weight decay; and buffers. */
int64_t lam_params_count(const struct lam_params *params);
int64_t lam_params_decayed_count(const struct lam_params *params);
int64_t lam_params_buffer_count(const struct lam_params *params);

/* Lays the parameters out and allocates values, gradients and buffers on the device. Constants are there then; the rest
 * is not yet. */
lam_status lam_params_allocate(struct lam_params *params, struct lam_device *device);

/* Initial values, by name and seed alone: independent of how the network is cut into blocks. */
lam_status lam_params_init(struct lam_params *params, uint64_t seed);

float *lam_params_values(const struct lam_params *params);    /* device, flat trainable */
float *lam_params_gradients(const struct lam_params *params); /* device, flat trainable */
float *lam_params_buffers(const struct lam_params *params);   /* device, flat buffers */

/* Copies one parameter between host and device; count must be the parameter's. */
lam_status lam_params_read(const struct lam_params *params, int index, float *host);
lam_status lam_params_write(struct lam_params *params, int index, const float *host);

#endif
