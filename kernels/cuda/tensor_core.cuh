/* Products of small matrices by a warp's tensor cores: bf16 factors, f32 sums.
 *
 *     D [16][8] += A [16][16] B [16][8]            (PTX ISA: mma.sync m16n8k16, .row.col)
 *
 * Each lane holds a part: with g = lane / 4 and t = 2 (lane % 4), pairs of neighbours in a register, the left one below,
 *
 *     a[0], a[2]    A[g][t, t + 1],       A[g][t + 8, t + 9]          b[0], b[1]    B[t, t + 1][g], B[t + 8, t + 9][g]
 *     a[1], a[3]    the same of row g + 8                             d[0], d[1]    D[g][t, t + 1]; d[2], d[3]: row g + 8
 *
 * So two neighbouring D, rounded, are an A of the next product.
 */
#ifndef LAM_CUDA_TENSOR_CORE_CUH
#define LAM_CUDA_TENSOR_CORE_CUH

#include "cuda/element_vectors.cuh"

enum { LEAST_CAPABILITY = 80 }; /* of a GPU that has them for bf16 */

__device__ inline int lane_row() {
    return (int)(threadIdx.x % WARP) / 4;
}
__device__ inline int lane_column() {
    return (int)(threadIdx.x % 4) * 2;
}

/* All lanes of the warp. */
__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef LAMINA_CUDA_EMULATOR
    multiply_add_m16n8k16(d, a, b);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap(); /* never launched there */
#endif
}

__device__ inline unsigned pair_of_floats(float left, float right) {
    bf16 rounded[2];
    store(&rounded[0], left);
    store(&rounded[1], right);
    return rounded[0].bits | (unsigned)rounded[1].bits << 16;
}

/* Two neighbours at a multiple of 4 bytes, as they lie in a register. */
__device__ inline unsigned pair_at(const bf16 *at) {
    const element_vector<bf16, 2> pair = *reinterpret_cast<const element_vector<bf16, 2> *>(at);
    return pair.at[0].bits | (unsigned)pair.at[1].bits << 16;
}
__device__ inline void store_pair(bf16 *at, float left, float right) {
    element_vector<bf16, 2> pair;
    store(&pair.at[0], left);
    store(&pair.at[1], right);
    *reinterpret_cast<element_vector<bf16, 2> *>(at) = pair;
}

/* Columns [column, column + 16) of rows row and row + 8 and so on, of a matrix in shared memory whose rows are STRIDE apart. */
template <int STRIDE>
__device__ inline void load_a(const bf16 *matrix, int row, int column, unsigned (&a)[4]) {
    const bf16 *at = matrix + (row + lane_row()) * STRIDE + column + lane_column();
    for (int i = 0; i < 4; i++) a[i] = pair_at(at + i % 2 * 8 * STRIDE + i / 2 * 8);
}

/* B[k][n] = matrix[row + n][column + k]. */
template <int STRIDE>
__device__ inline void load_b(const bf16 *matrix, int row, int column, unsigned (&b)[2]) {
    const bf16 *at = matrix + (row + lane_row()) * STRIDE + column + lane_column();
    for (int i = 0; i < 2; i++) b[i] = pair_at(at + i * 8);
}

/* The A that columns [0, 16) of two neighbouring D are. */
__device__ inline void make_a(const float (&left)[4], const float (&right)[4], unsigned (&a)[4]) {
    a[0] = pair_of_floats(left[0], left[1]);
    a[1] = pair_of_floats(left[2], left[3]);
    a[2] = pair_of_floats(right[0], right[1]);
    a[3] = pair_of_floats(right[2], right[3]);
}

#endif
