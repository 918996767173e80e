/* The threads that do a row together: a warp where rows are short, a block where they are long.
 *
 *     for (int64_t row = first_row(team); row < rows; row += row_step(team)) {
 *         for (int j = rank_in(team); j < columns; j += size_of(team)) most = fmaxf(most, ...);
 *         most = team_max(team, most);
 *
 * Every thread of the team gets the result of team_sum, team_max and team_largest. A launch takes TEAM_SHARED bytes.
 */
#ifndef LAM_CUDA_ROW_TEAM_CUH
#define LAM_CUDA_ROW_TEAM_CUH

#include "cuda/launch.cuh"

enum { TEAM_THREADS = 256, LONGEST_OF_WARP = 1024, TEAM_SHARED = WARP * sizeof(double) };

/* An element and its place; of equals, the first is the larger. */
struct ranked {
    float value;
    int place;
};
__device__ inline ranked larger(ranked a, ranked b) {
    return b.value > a.value || (b.value == a.value && b.place < a.place) ? b : a;
}

__device__ inline ranked warp_largest(ranked x) {
    for (int step = WARP / 2; step > 0; step /= 2)
        x = larger(
            x, {__shfl_xor_sync(0xFFFFFFFFu, x.value, step), __shfl_xor_sync(0xFFFFFFFFu, x.place, step)});
    return x;
}

struct warp_team {};
__device__ inline int rank_in(warp_team) {
    return (int)(threadIdx.x % WARP);
}
__device__ inline int size_of(warp_team) {
    return WARP;
}
__device__ inline int64_t first_row(warp_team) {
    return first_index() / WARP;
}
__device__ inline int64_t row_step(warp_team) {
    return index_step() / WARP;
}
template <typename T> __device__ inline T team_sum(warp_team, T value) {
    return warp_sum(value);
}
__device__ inline float team_max(warp_team, float value) {
    return warp_max(value);
}
__device__ inline ranked team_largest(warp_team, ranked x) {
    return warp_largest(x);
}

struct block_team {};
__device__ inline int rank_in(block_team) {
    return (int)threadIdx.x;
}
__device__ inline int size_of(block_team) {
    return (int)blockDim.x;
}
__device__ inline int64_t first_row(block_team) {
    return blockIdx.x;
}
__device__ inline int64_t row_step(block_team) {
    return gridDim.x;
}
template <typename T> __device__ inline T team_sum(block_team, T value) {
    return block_sum(value, shared_memory<T>());
}
__device__ inline float team_max(block_team, float value) {
    return block_max(value, shared_memory<float>());
}
__device__ inline ranked team_largest(block_team, ranked x) {
    ranked *room = shared_memory<ranked>();
    x = warp_largest(x);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = x;
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / WARP; i++) x = larger(x, room[i]);
    __syncthreads();
    return x;
}

/* Calls f with the team for rows of so many columns. */
template <typename F> static void with_team(int64_t columns, F f) {
    if (columns <= LONGEST_OF_WARP)
        f(warp_team());
    else
        f(block_team());
}

template <typename Team> static dim3 team_grid(Team, const struct lam_stream *stream, int64_t rows) {
    int64_t threads = TEAM_THREADS;
    if (std::is_same_v<Team, warp_team>) threads = WARP;
    return lam_grid(stream, rows * threads, TEAM_THREADS);
}

#endif
