/* The three passes of a convolution in the emulated cuDNN: which descriptors fit together, and which algorithms there are
 * for them, with what workspace. */
#ifndef LAM_CUDA_EMULATOR_CUDNN_ALGORITHMS_H
#define LAM_CUDA_EMULATOR_CUDNN_ALGORITHMS_H

#include "cuda_emulator/cudnn_objects.h"

namespace emulator::cudnn {

enum class pass { forward, backward_data, backward_filter };

/* Values, not descriptors: these may be destroyed as soon as a call has returned. */
struct problem {
    pass kind;
    tensor x; /* or dx */
    filter w; /* or dw */
    convolution conv;
    tensor y; /* or dy */

    bool tensor_cores() const { return conv.math != CUDNN_FMA_MATH; }
    /* Float goes through tensor cores as TF32. */
    bool tf32() const { return tensor_cores() && x.of() == element::f32; }
};

/* h and w of y; refuses a filter that is larger than the padded image. */
void output_size(const tensor &x, const filter &w, const convolution &conv, int *h, int *wide);

/* Refuses descriptors that do not fit together. */
problem fit(pass kind, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
            cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y);

struct algorithm {
    const char *name;
    bool deterministic;
    double slowness; /* time over that of the fastest */
    bool (*supports)(const problem &p);
    size_t (*workspace)(const problem &p); /* bytes, before rounding */
};

/* In the order of cuDNN's enumeration. */
const std::vector<algorithm> &algorithms(pass kind);

/* Refuses one that does not exist, or does not support the problem. */
const algorithm &supported(const problem &p, int algo);

/* Bytes of workspace; with tensor cores an algorithm needs twice that of FMA. */
size_t workspace_of(const problem &p, const algorithm &a);

} // namespace emulator::cudnn

#endif
