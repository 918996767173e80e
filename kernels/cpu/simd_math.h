/* Elementary functions on vectors, for the *_isa.c files. The coefficients are minimax fits of our own; the
 * errors said are of the fit, to which a few roundings come. */
#ifndef LAM_CPU_SIMD_MATH_H
#define LAM_CPU_SIMD_MATH_H

#include "cpu/simd.h"

/* x 2^n for whole n in [-126, 127]. */
LAM_INLINE vf v_scale(vf x, vf n) {
#if LAM_V == 16
    return _mm512_scalef_ps(x, n);
#else
    return x * (vf)((v_to_int(n) + 127) << 23);
#endif
}

/* e^x, relative error 3e-9; x in [-87, 88], beyond which it stays at the value there. NaN gives NaN. */
LAM_INLINE vf v_exp(vf x) {
    x = v_min(v_set(88.0f), v_max(v_set(-87.0f), x));
    vf n = v_round(x * v_set(1.442695041f));
    vf r = v_fnma(n, v_set(0.693359375f), x); /* ln 2 in two parts: the first product is exact */
    r = v_fnma(n, v_set(-2.12194440e-4f), r);
    vf p = v_set(0.00139505309f);
    p = v_fma(p, r, v_set(0.008368960344f));
    p = v_fma(p, r, v_set(0.04166620512f));
    p = v_fma(p, r, v_set(0.1666651823f));
    p = v_fma(p, r, v_set(0.5000000095f));
    p = v_fma(p * r, r, r) + v_set(1);
    return v_scale(p, n);
}

/* log(1 + u) for u in [0, 1], relative error 1e-8: 2 atanh(s) with s = u / (2 + u). */
LAM_INLINE vf v_log1p_unit(vf u) {
    vf s = u / (u + v_set(2)), v = s * s;
    vf p = v_set(0.2802468284f);
    p = v_fma(p, v, v_set(0.2799908555f));
    p = v_fma(p, v, v_set(0.4002170342f));
    p = v_fma(p, v, v_set(0.6666641303f));
    return v_fma(s * v, p, s + s);
}

LAM_INLINE vf v_abs(vf x) {
    return (vf)((vu)x & 0x7FFFFFFFu);
}
LAM_INLINE vf v_negative(vf x) {
    return (vf)((vu)x ^ 0x80000000u);
}

/* log(1 + e^x) without overflow. */
LAM_INLINE vf v_softplus(vf x) {
    return v_max(v_zero(), x) + v_log1p_unit(v_exp(v_negative(v_abs(x))));
}

/* 1 / (1 + e^-x) */
LAM_INLINE vf v_sigmoid(vf x) {
    vf small = v_exp(v_negative(v_abs(x))), share = v_set(1) / (v_set(1) + small);
    return v_where_greater(v_zero(), x, small * share, share);
}

/* How exact: FINE to f32's precision; COARSE to 3e-4 relative, for results that become bf16 (2e-3). */
enum v_precision { V_FINE, V_COARSE };

/* 2^x, relative error 2e-9 or 1e-4; x in [-126, 126]. */
LAM_INLINE vf v_exp2(vf x, enum v_precision precision) {
    vf n = v_round(x), f = x - n, p;
    if (precision == V_COARSE) {
        p = v_set(0.05500844649f);
        p = v_fma(p, f, v_set(0.2422111128f));
        p = v_fma(p, f, v_set(0.693283023f));
    } else {
        p = v_set(1.535507069e-4f);
        p = v_fma(p, f, v_set(1.339894924e-3f));
        p = v_fma(p, f, v_set(9.618431168e-3f));
        p = v_fma(p, f, v_set(0.05550332211f));
        p = v_fma(p, f, v_set(0.2402264796f));
        p = v_fma(p, f, v_set(0.6931472031f));
    }
    return v_scale(v_fma(p, f, v_set(1)), n);
}

/* 1 / x for x in [1, 2^100], to an ulp or two, or to 1e-4. */
LAM_INLINE vf v_reciprocal(vf x, enum v_precision precision) {
#if LAM_V == 16
    vf r = _mm512_rcp14_ps(x);
    if (precision == V_FINE) r *= v_fnma(x, r, v_set(2));
    return r;
#else
    (void)precision;
    return v_set(1) / x;
#endif
}

/* The normal distribution at x: *below = Phi(-|x|), relative error 1.5e-7 or 3e-4 besides the exponential's,
 * and *bell = e^(-x^2 / 2). Phi(-a) e^(a^2 / 2) is smooth and close to a polynomial in 1 / (1 + 0.3 a).
 * Beyond |x| = 12.5 both stay at the values there, which are still normal numbers. */
LAM_INLINE void v_normal(vf x, vf *below, vf *bell, enum v_precision precision) {
    vf a = v_min(v_set(12.5f), v_abs(x)), p;
    vf t = v_reciprocal(v_fma(a, v_set(0.3f), v_set(1)), precision);
    if (precision == V_COARSE) {
        p = v_set(0.2083106858f);
        p = v_fma(p, t, v_set(0.03672326814f));
        p = v_fma(p, t, v_set(0.1367095462f));
        p = v_fma(p, t, v_set(0.1183683977f));
    } else {
        p = v_set(0.03567695822f);
        p = v_fma(p, t, v_set(-0.1572118382f));
        p = v_fma(p, t, v_set(0.2063678819f));
        p = v_fma(p, t, v_set(-0.05369612741f));
        p = v_fma(p, t, v_set(0.1285677942f));
        p = v_fma(p, t, v_set(0.09991176443f));
        p = v_fma(p, t, v_set(0.1207542095f));
        p = v_fma(p, t, v_set(0.1196292838f));
    }
    *bell = v_exp2(a * a * v_set(-0.7213475204f), precision); /* log2(e) / 2 */
    *below = *bell * (p * t);
}

#endif
