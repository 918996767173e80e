/* Failures on order, for tests in C or C++; in a loaded module, found with dlsym.
 *
 *     LAMINA_EMULATED_FAIL=cudaMalloc:3   the third call of cudaMalloc fails
 *     LAMINA_EMULATED_FAIL=any:57         the 57th call of any entry point fails
 *     LAMINA_EMULATED_FAIL=work:5         the fifth piece of queued work fails, when it comes to run
 *     LAMINA_EMULATED_FAIL=work:relu:2    the second run of the kernel or library call that is named so fails
 *     LAMINA_EMULATED_LOSE=1:200          GPU 1 is lost after 200 calls of any entry points
 *     LAMINA_EMULATED_COUNT=FILE          the number of calls is written to FILE at exit, and below it each name with its own;
 *                                         "failed:NAME": the order that was carried out
 *
 * A failed allocation is out of memory and nothing else. Anything that queues work or waits for it fails with
 * cudaErrorLaunchFailure, and from then on all calls that use the device do; work that is queued there is dropped. Calls
 * that free or destroy do so even when they fail.
 */
#ifndef LAM_CUDA_EMULATOR_FAULTS_H
#define LAM_CUDA_EMULATOR_FAULTS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The n-th from now, counted from 1, fails: of the calls of an entry point ("cudaMalloc", "cudnnConvolutionForward"), of
 * all calls ("any"), of pieces of work ("work", "work:relu"). n = 0: none; it takes back an earlier order. */
void emulator_fail(const char *what, long n);
/* The GPU is lost at the n-th call of any entry point from now; n = 0: at once. */
void emulator_lose(int device, long n);
/* Memory that the GPU has from now on. */
void emulator_set_memory(int device, size_t bytes);
/* All GPUs work again, and no failure is on order. To be called when nothing is queued. */
void emulator_restore(void);

/* Calls up to now, counted as above. */
long emulator_calls(const char *what);
/* Bytes that are allocated now. */
size_t emulator_memory_used(int device);
/* Lists what is alive - memory, streams, events, graphs, handles of libraries - on stderr, and returns how much it is. */
int emulator_leaks(void);

#ifdef __cplusplus
}
#endif

#endif
