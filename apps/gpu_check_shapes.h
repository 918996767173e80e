/* Ops as real networks have them, as lines for the conformance suite; each is run in f32 and in bf16. Batches are small enough
 * for a plain computation on one core to keep up. NULL at the end. */
#ifndef LAMINA_GPU_CHECK_SHAPES_H
#define LAMINA_GPU_CHECK_SHAPES_H

extern const char *const gpu_check_shapes[];

#endif
