/* What emulations of CUDA's libraries (cuDNN, cuBLASLt) are built on: calls, memory, and work on streams.
 *
 *     cudnnStatus_t cudnnSoftmaxForward(cudnnHandle_t handle, ...) {
 *         if (emulator::should_fail("cudnnSoftmaxForward")) return CUDNN_STATUS_EXECUTION_FAILED;
 *         if (!sensible) return emulator::note_failure("cudnnSoftmaxForward"), CUDNN_STATUS_BAD_PARAM;
 *         cudaError_t error = emulator::enqueue(handle->stream, "cudnnSoftmaxForward",
 *                                               {{x, x_bytes, "x"}, {y, y_bytes, "y"}}, [=] { softmax(x, y, ...); });
 *         if (error != cudaSuccess)
 *             return emulator::note_failure("cudnnSoftmaxForward"), CUDNN_STATUS_EXECUTION_FAILED;
 *         return CUDNN_STATUS_SUCCESS;
 *     }
 *
 * The environment, read once:
 *
 *     LAMINA_EMULATED_GPUS=2          how many GPUs there are
 *     LAMINA_EMULATED_MEMORY=2G       memory of each; a number of bytes, or with K, M, G
 *     LAMINA_EMULATED_TAKEN=0         of it, held by other programs
 *     LAMINA_EMULATED_NVML=1          0: the management library refuses (nvml.c)
 *     LAMINA_EMULATED_CAPABILITY=8.0  compute capability
 *     LAMINA_EMULATED_PEERS=1         0: no GPU can access another's memory
 *     LAMINA_EMULATED_SEED=1          of the delays, and of the order of blocks and threads
 *     LAMINA_EMULATED_DELAY_US=50     longest delay before a piece of work
 *     LAMINA_EMULATED_RACES=0         1: under ThreadSanitizer, races between the threads of a block are found, too; slow
 *     LAMINA_EMULATED_LEAKS           ignore: what is still alive at exit is not an error
 *     LAMINA_EMULATED_FAIL, LAMINA_EMULATED_LOSE, LAMINA_EMULATED_COUNT: see faults.h
 *
 * A mistake of the program under test ends it: a line "emulator: ..." on stderr, and abort().
 */
#ifndef LAM_CUDA_EMULATOR_RUNTIME_H
#define LAM_CUDA_EMULATOR_RUNTIME_H

#include <cstddef>
#include <functional>
#include <vector>

#include <cuda_runtime_api.h>

namespace emulator {

/* ---- mistakes ---- */

/* Prints "emulator: " and the message, and aborts. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- calls ----
 *
 * A thread whose last call failed must look at the error, free, destroy or synchronize before it calls anything else. */

/* To be called first by each entry point that can fail. Counts the call, and aborts after an ignored error. True: the
 * call shall do nothing and fail; the failure is noted already. */
bool should_fail(const char *entry_point);
/* The call fails for a reason of its own. */
void note_failure(const char *entry_point);
/* The thread looked at an error, or cleans up: called by entry points that give an error's text, or destroy. */
void note_looked();

/* ---- devices and memory ---- */

int current_device(); /* of the calling thread */
int device_of(cudaStream_t stream);

/* Aborts unless [pointer, pointer + bytes) lies in one live allocation that work on `stream` can use: memory of its
 * device, of a peer, or pinned. `what` names the range in the message ("conv_fwd: workspace"). */
void check_device_range(cudaStream_t stream, const void *pointer, size_t bytes, const char *what);

/* ---- work on streams ---- */

/* Memory that a piece of work uses. It must not be freed before the work is done. A null pointer of no bytes is nothing. */
struct use {
    const void *pointer;
    size_t bytes;
    const char *what;
};

/* Checks the uses, and puts the work on the stream; if that is being captured, it becomes a node of the graph and may run
 * several times. `name` lives as long as the program. The stream's device must be the current one of the thread. Returns
 * the device's error if it has failed or is lost; then the work is dropped. */
cudaError_t enqueue(cudaStream_t stream, const char *name, const std::vector<use> &uses,
                    std::function<void()> work);

/* ---- handles ---- */

/* Handles and descriptors that are alive, by kind ("cudnnHandle_t"). What is left at exit is a leak. remove_object and
 * expect_object abort if the object is not alive. */
void add_object(const char *kind, const void *object);
void remove_object(const char *kind, const void *object);
void expect_object(const char *kind, const void *object);

} // namespace emulator

#endif
