/* The table of handles (runtime.h). */
#ifndef LAM_CUDA_EMULATOR_OBJECTS_H
#define LAM_CUDA_EMULATOR_OBJECTS_H

namespace emulator {

/* Prints one line for each kind of which something is alive. Returns how many handles that is. */
int list_objects();

} // namespace emulator

#endif
