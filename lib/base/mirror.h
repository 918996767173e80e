/* Indices beyond a border, mirrored back without repeating it (0 1 2 3 -> .. 2 1 | 0 1 2 3 | 2 1 ..). In C and in CUDA's C++; device
 * code defines LAM_MIRROR_CODE as its kind of function. */
#ifndef LAM_BASE_MIRROR_H
#define LAM_BASE_MIRROR_H

#ifndef LAM_MIRROR_CODE
#define LAM_MIRROR_CODE static inline
#endif

LAM_MIRROR_CODE int lam_mirror(int at, int size) {
    if (size == 1) return 0;
    const int period = 2 * (size - 1);
    at %= period;
    if (at < 0) at += period;
    return at < size ? at : period - at;
}

#endif
