/* Inside kernels/cpu: how a CPU kernel is put together.
 *
 * Each op kind has a create function in the file of its subject, listed once in ops_table.c:
 *
 *     lam_status lam_cpu_relu_create(const struct lam_op *op, const struct lam_kernel_options *options,
 *                                    struct lam_kernel **kernel, const char **chosen);
 *
 * It allocates a struct whose first member is struct lam_kernel, copies the op, fills in byte counts and
 * functions.
 *
 * Files named *_isa.c are compiled twice, for x86-64-v3 (AVX2) and -v4 (AVX-512); names in them go
 * through LAM_ISA_NAME, and the table of the best level that this processor has is taken once:
 *
 *     // norm_isa.h:  struct lam_norm_kernels { void (*bn_apply)(...); ... };
 *     //              extern const struct lam_norm_kernels lam_norm_v3, lam_norm_v4;
 *     // norm_isa.c:  const struct lam_norm_kernels LAM_ISA_NAME(lam_norm) = { ... };
 *     // norm.c:      const struct lam_norm_kernels *k = LAM_ISA_PICK(lam_norm);
 */
#ifndef LAM_CPU_KERNEL_H
#define LAM_CPU_KERNEL_H

#include "device/backend.h"

typedef lam_status (*lam_cpu_create_fn)(const struct lam_op *op, const struct lam_kernel_options *options,
                                        struct lam_kernel **kernel, const char **chosen);

/* ops_table.c; NULL for an op that the backend does not have. */
lam_cpu_create_fn lam_cpu_create_for(enum lam_op_kind kind);
/* Whether that function knows an addend. */
bool lam_cpu_adds(enum lam_op_kind kind);
/* The choices that LAM_KERNEL_MEASURE tries, NULL at the end; NULL for an op that has but one way. */
const char *const *lam_cpu_choices_for(enum lam_op_kind kind);

enum lam_cpu_isa { LAM_CPU_TOO_OLD, LAM_CPU_V3, LAM_CPU_V4 };
enum lam_cpu_isa lam_cpu_isa(void); /* the best level of this processor; LAMINA_ISA=v3 lowers it, for tests */
enum lam_layout lam_cpu_blocked_layout(void); /* of images with many channels: a vector for each pixel */
/* LAM_ERR_UNSUPPORTED for a processor that is too old, LAM_ERR_INVALID for a LAMINA_ISA that cannot be. */
lam_status lam_cpu_isa_check(void);

#define LAM_ISA_PASTE2(a, b) a##_##b
#define LAM_ISA_PASTE(a, b)  LAM_ISA_PASTE2(a, b)
#define LAM_ISA_NAME(name)   LAM_ISA_PASTE(name, LAM_ISA)
#define LAM_ISA_PICK(name)   (lam_cpu_isa() == LAM_CPU_V4 ? &name##_v4 : &name##_v3)

/* The half-open range of `count` things that part `part` of `parts` does. */
static inline void lam_part(int64_t count, int part, int parts, int64_t *begin, int64_t *end) {
    *begin = count * part / parts;
    *end = count * (part + 1) / parts;
}

/* reduce() of a single sum in the output's format: out = partials[0] + partials[1] + ..., in that order. For
 * kernels with partial_is_output. */
void lam_cpu_reduce_sum(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                        void *const *out, int part, int parts, struct lam_stream *stream);

/* reduce() of partials that are a double for each output, an f32 scalar each. */
void lam_cpu_reduce_doubles(const struct lam_kernel *kernel, void *const *partials, int partial_count,
                            void *const *out, int part, int parts, struct lam_stream *stream);

#endif
