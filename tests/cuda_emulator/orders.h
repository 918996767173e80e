/* Failures on order (faults.h): asked for each call and each piece of work. */
#ifndef LAM_CUDA_EMULATOR_ORDERS_H
#define LAM_CUDA_EMULATOR_ORDERS_H

namespace emulator {

/* Counts a call of the entry point; true: it has to fail. */
bool count_call(const char *entry_point);
/* The same for a piece of work that is about to run. */
bool count_work(const char *name);

} // namespace emulator

#endif
