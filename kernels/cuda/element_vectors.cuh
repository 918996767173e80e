/* Several neighbouring elements at once: what a thread loads and stores where channels lie side by side.
 *
 *     float v[N];
 *     load_vector(x + i, v);     // x + i is aligned to N elements, or to 16 bytes if they are more
 *     store_vector(y + i, v);
 */
#ifndef LAM_CUDA_ELEMENT_VECTORS_CUH
#define LAM_CUDA_ELEMENT_VECTORS_CUH

#include "cuda/device_code.cuh"

/* Before a loop: so many rounds of it at a time, so that their loads are under way together. */
#define LAM_PRAGMA(text) _Pragma(#text)
#ifdef LAMINA_CUDA_EMULATOR
#define UNROLLED(rounds)
#else
#define UNROLLED(rounds) LAM_PRAGMA(unroll rounds)
#endif

/* Elements in an access of 16 bytes. */
template <typename T> constexpr int VECTOR = 16 / (int)sizeof(T);

template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) element_vector {
    T at[N];
};

__device__ inline float load(const uint8_t *x) {
    return (float)*x;
}

template <typename T, int N> __device__ inline void load_vector(const T *x, float (&values)[N]) {
    const element_vector<T, N> read = *reinterpret_cast<const element_vector<T, N> *>(x);
    for (int k = 0; k < N; k++) values[k] = load(&read.at[k]);
}

template <typename T, int N> __device__ inline void store_vector(T *y, const float (&values)[N]) {
    element_vector<T, N> written;
    for (int k = 0; k < N; k++) store(&written.at[k], values[k]);
    *reinterpret_cast<element_vector<T, N> *>(y) = written;
}

/* Indices, next to a vector of values. */
template <int N> __device__ inline void load_vector(const int32_t *x, int32_t (&values)[N]) {
    const element_vector<int32_t, N> read = *reinterpret_cast<const element_vector<int32_t, N> *>(x);
    for (int k = 0; k < N; k++) values[k] = read.at[k];
}

template <int N> __device__ inline void store_vector(int32_t *y, const int32_t (&values)[N]) {
    element_vector<int32_t, N> written;
    for (int k = 0; k < N; k++) written.at[k] = values[k];
    *reinterpret_cast<element_vector<int32_t, N> *>(y) = written;
}

/* N numbers that may stand anywhere. */
template <typename T, int N> __device__ inline void load_each(const T *x, float (&values)[N]) {
    for (int k = 0; k < N; k++) values[k] = load(x + k);
}

/* max(x, 0), but NaN stays NaN. */
__device__ inline float rectified(float x) {
    return x < 0.0f ? 0.0f : x;
}

#endif
