/* Vectors for the *_isa.c files: one name for each primitive, two instruction sets below it.
 *
 * `vf` is the widest float vector of the level that the file is compiled for (16 or 8 lanes: LAM_V). Plain
 * arithmetic uses the compiler's operators; what has no operator stands here. Kernels are written once, as
 * always-inlined bodies whose element type and block size are compile-time constants.
 *
 * Element types of memory are given by `enum lam_simd_type`. BF16 widens by a shift and narrows by integer
 * arithmetic, round to nearest even; BF16_HW narrows by the processor's own instruction (AVX512-BF16, which
 * treats denormals as zero), for kernels of level v4 only.
 *
 * min and max hand a NaN in their last operand on, as does everything built on them: a NaN must reach the
 * NaN guard.
 */
#ifndef LAM_CPU_SIMD_H
#define LAM_CPU_SIMD_H

#include <immintrin.h>
#include <string.h>

#include "cpu/simd_type.h"

#define LAM_INLINE   static inline __attribute__((always_inline, unused))
#define LAM_OUTLINED static __attribute__((noinline, unused)) /* off the hot path: one copy is enough */

#if defined(__AVX512F__)
#define LAM_V 16
typedef __m512 vf;
#define LAM_VF(name) _mm512_##name
#else /* AVX2 and FMA */
#define LAM_V        8
typedef __m256 vf;
#define LAM_VF(name) _mm256_##name
#endif

typedef int32_t vi __attribute__((vector_size(4 * LAM_V), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * LAM_V), may_alias));
typedef uint16_t vh __attribute__((vector_size(2 * LAM_V), may_alias));
typedef float vf_half __attribute__((vector_size(2 * LAM_V), may_alias));
typedef double vd __attribute__((vector_size(4 * LAM_V), may_alias)); /* LAM_V / 2 doubles */

LAM_INLINE vf v_set(float x) {
    return LAM_VF(set1_ps)(x);
}
LAM_INLINE vf v_zero(void) {
    return LAM_VF(setzero_ps)();
}
LAM_INLINE vf v_sqrt(vf x) {
    return LAM_VF(sqrt_ps)(x);
}
LAM_INLINE vf v_max(vf a, vf b) {
    return LAM_VF(max_ps)(a, b);
}
LAM_INLINE vf v_min(vf a, vf b) {
    return LAM_VF(min_ps)(a, b);
}

/* a * b + c */
LAM_INLINE vf v_fma(vf a, vf b, vf c) {
    return LAM_VF(fmadd_ps)(a, b, c);
}

/* c - a * b */
LAM_INLINE vf v_fnma(vf a, vf b, vf c) {
    return LAM_VF(fnmadd_ps)(a, b, c);
}

LAM_INLINE vf v_round(vf x) {
#if LAM_V == 16
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return LAM_VF(round_ps)(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
}

LAM_INLINE vi v_to_int(vf x) {
    return (vi)LAM_VF(cvtps_epi32)(x);
} /* to nearest */

LAM_INLINE vf v_from_int(vi x) {
#if LAM_V == 16
    return _mm512_cvtepi32_ps((__m512i)x);
#else
    return _mm256_cvtepi32_ps((__m256i)x);
#endif
}

/* Where a > b: x, elsewhere y. */
LAM_INLINE vf v_where_greater(vf a, vf b, vf x, vf y) {
#if LAM_V == 16
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
#else
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
#endif
}

/* Where a == b: x, elsewhere y. */
LAM_INLINE vf v_where_same(vi a, vi b, vf x, vf y) {
    vi mask = a == b;
    return (vf)((mask & (vi)x) | (~mask & (vi)y));
}

LAM_INLINE vf v_relu(vf x) {
    return v_max(v_zero(), x);
}

LAM_INLINE float v_sum(vf x) {
#if LAM_V == 16
    return _mm512_reduce_add_ps(x);
#else
    float sum = 0;
    for (int i = 0; i < LAM_V; i++) sum += x[i];
    return sum;
#endif
}

LAM_INLINE float v_largest(vf x) {
#if LAM_V == 16
    return _mm512_reduce_max_ps(x);
#else
    float largest = x[0];
    for (int i = 1; i < LAM_V; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
#endif
}

/* ---- memory: f32 and bf16, whole vectors or the first n lanes (the others read as 0) ---- */

LAM_INLINE vf v_widen(vh x) {
#if LAM_V == 16
    return (vf)(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16));
#else
    return (vf)(_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)x), 16));
#endif
}

LAM_INLINE vh v_narrow(vf x, enum lam_simd_type type) {
#if LAM_V == 16
    if (type == LAM_SIMD_BF16_HW) {
        __m256i result;
        __asm__("vcvtneps2bf16 %1, %0" : "=v"(result) : "v"(x));
        return (vh)result;
    }
#endif
    (void)type;
    vu bits = (vu)x;
    vu rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    vu nan = (vu)(x != x);
    vu result = (rounded & ~nan) | (((bits >> 16) | 0x40u) & nan);
#if LAM_V == 16
    return (vh)_mm512_cvtepi32_epi16((__m512i)result);
#else
    __m256i packed = _mm256_packus_epi32((__m256i)result, (__m256i)result);
    return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#endif
}

LAM_INLINE vf v_load_f32(const float *p) {
    return LAM_VF(loadu_ps)(p);
}
LAM_INLINE void v_store_f32(float *p, vf x) {
    LAM_VF(storeu_ps)(p, x);
}

LAM_INLINE vf v_load_f32_n(const float *p, int n) {
    if (n >= LAM_V) return v_load_f32(p);
#if LAM_V == 16
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
    float lanes[LAM_V] = {0};
    memcpy(lanes, p, (size_t)n * sizeof(float));
    return v_load_f32(lanes);
#endif
}

LAM_INLINE void v_store_f32_n(float *p, vf x, int n) {
    if (n >= LAM_V) {
        v_store_f32(p, x);
        return;
    }
#if LAM_V == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), x);
#else
    float lanes[LAM_V];
    v_store_f32(lanes, x);
    memcpy(p, lanes, (size_t)n * sizeof(float));
#endif
}

/* Lanes i .. i + n - 1 of an array of `type`. */
LAM_INLINE vf v_load(const void *p, int64_t i, int n, enum lam_simd_type type) {
    if (type == LAM_SIMD_F32) return v_load_f32_n((const float *)p + i, n);
    const uint16_t *source = (const uint16_t *)p + i;
    vh half = {0};
    if (n >= LAM_V) {
        memcpy(&half, source, sizeof half);
    } else {
#if LAM_V == 16
        half = (vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1u), source);
#else
        memcpy(&half, source, (size_t)n * sizeof(uint16_t));
#endif
    }
    return v_widen(half);
}

LAM_INLINE void v_store(void *p, int64_t i, vf x, int n, enum lam_simd_type type) {
    if (type == LAM_SIMD_F32) {
        v_store_f32_n((float *)p + i, x, n);
        return;
    }
    uint16_t *target = (uint16_t *)p + i;
    vh half = v_narrow(x, type);
    if (n >= LAM_V) {
        memcpy(target, &half, sizeof half);
    } else {
#if LAM_V == 16
        _mm256_mask_storeu_epi16(target, (__mmask16)((1u << n) - 1u), (__m256i)half);
#else
        memcpy(target, &half, (size_t)n * sizeof(uint16_t));
#endif
    }
}

/* Number i of an array of `type`. */
LAM_INLINE float v_read_one(const void *p, int64_t i, enum lam_simd_type type) {
    return type == LAM_SIMD_F32 ? ((const float *)p)[i] : lam_bf16_to_f32(((const uint16_t *)p)[i]);
}

LAM_INLINE void v_write_one(void *p, int64_t i, float x, enum lam_simd_type type) {
    if (type == LAM_SIMD_F32)
        ((float *)p)[i] = x;
    else
        ((uint16_t *)p)[i] = lam_f32_to_bf16(x);
}

/* The instances of a loop for each element type; below level v4 there is no BF16_HW to instantiate. */
#if LAM_V == 16
#define LAM_BY_TYPE(DEFINE) DEFINE(F32) DEFINE(BF16) DEFINE(BF16_HW)
#define LAM_TYPES(name)                                                                                      \
    { name##_F32, name##_BF16, name##_BF16_HW }
#else
#define LAM_BY_TYPE(DEFINE) DEFINE(F32) DEFINE(BF16)
#define LAM_TYPES(name)                                                                                      \
    { name##_F32, name##_BF16, name##_BF16 }
#endif

LAM_INLINE size_t v_bytes(enum lam_simd_type type) {
    return type == LAM_SIMD_F32 ? 4 : 2;
}

LAM_INLINE vd v_double(const float *p) { /* LAM_V / 2 floats */
    vf_half half;
    memcpy(&half, p, sizeof half);
    return __builtin_convertvector(half, vd);
}

LAM_INLINE double v_sum_double(vd x) {
    double sum = 0;
    for (int i = 0; i < LAM_V / 2; i++) sum += x[i];
    return sum;
}

#endif
