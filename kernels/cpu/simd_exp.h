/* exp on vectors, for the *_isa.c files. */
#ifndef LAM_CPU_SIMD_EXP_H
#define LAM_CPU_SIMD_EXP_H

#include "cpu/simd.h"

/* exp(x), relative error about 1e-7: x = n ln 2 + r with |r| <= ln(2) / 2 (Cody and Waite's reduction),
 * exp(r) by a polynomial of degree 6 (minimax, 3e-9). Results below 2^-126 are 0, above the largest float
 * infinity; NaN stays NaN. */
LAM_INLINE vf v_exp(vf x) {
    vf low = v_set(-87.33654f), high = v_set(88.72284f);
    vf clamped = v_min(high, v_max(low, x));
    vf n = v_round(clamped * v_set(0x1.715476p+0f));
    vf r = v_fnma(n, v_set(0x1.62e4p-1f), clamped);
    r = v_fnma(n, v_set(0x1.7f7d1cp-20f), r);
    vf p = v_set(0x1.6a2434p-10f);
    p = v_fma(p, r, v_set(0x1.1239e2p-7f));
    p = v_fma(p, r, v_set(0x1.5558f2p-5f));
    p = v_fma(p, r, v_set(0x1.555492p-3f));
    p = v_fma(p, r, v_set(0x1.fffffcp-2f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    vf scale = (vf)((v_to_int(n) + 126) << 23); /* 2^(n - 1): n may be 128 */
    vf y = p * scale * v_set(2.0f);
    y = v_where_greater(x, high, v_set(__builtin_inff()), y);
    return v_where_greater(low, x, v_zero(), y);
}

#endif
