/* What the emulated cuDNN and cuBLASLt have in common: element types and the numbers of tensor cores, the memory
 * of a call, and refusals.
 *
 * An entry point is written as
 *
 *     cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
 *         return entry(__func__, [&] {
 *             check(handle);
 *             handle->stream = stream;
 *         });
 *     }
 *
 * where everything that is wrong is thrown as a refusal, before anything is enqueued. entry() asks the runtime whether
 * this call is to fail, and turns a refusal into the status that the call returns.
 */
#ifndef LAM_CUDA_EMULATOR_CUDNN_CUBLAS_H
#define LAM_CUDA_EMULATOR_CUDNN_CUBLAS_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include "cuda_emulator/runtime.h"

namespace emulator::library {

/* ---- numbers ---- */

enum class element { f32, bf16 };

inline size_t size_of(element type) {
    return type == element::f32 ? 4 : 2;
}

/* base[first + i stride] for `count` values of i. Storing bf16 rounds to nearest even. */
void load(element type, const void *base, int64_t first, int64_t stride, int64_t count, float *to);
void store(element type, void *base, int64_t first, int64_t stride, int64_t count, const float *from);

/* 10 bits of mantissa, as tensor cores read float. */
void round_to_tf32(float *values, int64_t count);

/* to[j] += from[j] */
void add(float *to, const float *from, int64_t count);

/* `k` rows of `count` values, row_step apart, and a factor for each, factor_step apart. */
struct terms {
    const float *rows;
    int64_t row_step;
    const float *factors;
    int64_t factor_step;
    int64_t k;
};

/* sum[j] += factors[0] rows[0][j] + factors[1] rows[1][j] + ..., in this order. */
void add_terms(float *sum, int64_t count, const terms &t);

/* 64 bits that look random: of each counter value, others. */
uint64_t scramble(uint64_t counter);
/* A new value of a counter of the process, never 0. */
uint64_t next_count();

/* ---- calls ---- */

struct refusal {
    int status;
    std::string text;
};

[[noreturn]] void refuse(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the calling thread was refused last. With LAMINA_EMULATED_EXPLAIN in the environment, every refusal is also
 * printed on stderr: cuBLASLt has no call that gives the reason. */
std::string &last_refusal();
void remember_refusal(const char *name, const std::string &text);

/* The statuses of a library that all its calls share: execution_failed, alloc_failed, invalid, unsupported. */
template <typename Status> struct statuses;

/* Runs the body of a call. A refusal with `answer` is not a failure that the caller must look at. */
template <typename Status, typename Body>
Status guarded(const char *name, Body body, Status answer = (Status)0) {
    try {
        body();
        return (Status)0;
    } catch (const refusal &r) {
        remember_refusal(name, r.text);
        if ((Status)r.status != answer) note_failure(name);
        return (Status)r.status;
    }
}

template <typename Status> Status told_to_fail(const char *name, Status status) {
    remember_refusal(name, "told to fail");
    return status;
}

/* A call that does something. */
template <typename Status, typename Body> Status entry(const char *name, Body body) {
    if (should_fail(name)) return told_to_fail(name, statuses<Status>::execution_failed);
    return guarded<Status>(name, body);
}

/* A call that asks whether something can be done: "not supported" is an answer. */
template <typename Status, typename Body> Status query(const char *name, Body body) {
    if (should_fail(name)) return told_to_fail(name, statuses<Status>::execution_failed);
    return guarded<Status>(name, body, statuses<Status>::unsupported);
}

template <typename Status, typename Object>
Status create(const char *name, const char *kind, Object **to, const Object &value) {
    if (should_fail(name)) return told_to_fail(name, statuses<Status>::alloc_failed);
    return guarded<Status>(name, [&] {
        if (!to) refuse(statuses<Status>::invalid, "nowhere to put the %s", kind);
        *to = new Object(value);
        add_object(kind, *to);
    });
}

/* NULL is nothing to destroy. The object is gone even if the call is told to fail, and nobody need look at that. */
template <typename Status, typename Object>
Status destroy(const char *name, const char *kind, Object *object) {
    note_looked();
    bool fails = should_fail(name);
    note_looked();
    if (object) {
        remove_object(kind, object);
        delete object;
    }
    return fails ? told_to_fail(name, statuses<Status>::execution_failed) : (Status)0;
}

/* The work of a call. */
struct operand {
    const char *name;
    const void *memory;
    size_t bytes;
    bool written;
    size_t alignment;
};

/* Refuses operands that are absent or not aligned, and what is written but overlaps another operand; ends the test if one
 * is not live memory that the stream can use. Operands of 0 bytes are not looked at. */
void check_operands(int invalid, cudaStream_t stream, const char *call, const std::vector<operand> &operands);

/* Puts work on a stream that uses these operands; refuses with `failed` if the device has failed. */
void enqueue(int failed, cudaStream_t stream, const char *name, const std::vector<operand> &operands,
             std::function<void()> work);

/* Nobody may rely on what is in a workspace before or after a call. */
void scribble(void *workspace, size_t bytes);

} // namespace emulator::library

#endif
