"""Numbers that PyTorch and Lamina can both make, so that weights and batches need not be shipped.

All come from lib/base/rng.h's Philox streams, named by (SEED, LAM_RNG_INIT, hash of a text, b), and are exact
in float32: tests/gradient/parity.c makes the same bits.
"""

import numpy as np

SEED = 20240229
PURPOSE = 1  # LAM_RNG_INIT
MASK = (1 << 64) - 1
PROJECTIONS = 16


def _mix(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def _hash(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def words(text, b, count):
    """The first `count` 32-bit words of a stream."""
    key = _mix((SEED + 0x9E3779B97F4A7C15 * PURPOSE) & MASK)
    key = _mix(key ^ _mix((_hash(text) + 0x632BE59BD9B4E019) & MASK))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    blocks = (count + 3) // 4
    low = np.uint64(0xFFFFFFFF)
    c0 = np.arange(blocks, dtype=np.uint64)
    c1 = np.zeros(blocks, np.uint64)
    c2 = np.full(blocks, b & 0xFFFFFFFF, np.uint64)
    c3 = np.full(blocks, b >> 32, np.uint64)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), 1).reshape(-1)[:count].astype(np.uint32)


def uniform(text, b, count):
    """float32 in [-1, 1), multiples of 2^-23."""
    return (words(text, b, count) >> 8).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def parameter(name, shape):
    """Weights of variance 2 / fan in, norms about 1, biases and tokens about 0.

    The norm that closes a residual branch is a quarter of that and the classifier's weights are small: then the
    network is well conditioned, and twenty steps compare implementations instead of magnifying their rounding.
    """
    count = int(np.prod(shape))
    u = uniform(name, 0, count)
    if not name.endswith("weight"):
        return (np.float32(0.125) * u).reshape(shape)
    if len(shape) == 1:
        scale = np.float32(0.25 if name.endswith("bn2.weight") else 1)
        return (scale * (np.float32(1) + np.float32(0.25) * u)).reshape(shape)
    bound = np.float32(np.sqrt(6.0 * shape[0] / count))
    if name.startswith("head."):
        bound *= np.float32(0.25)
    return (bound * u).reshape(shape)


def _enlarge(images, size):
    """Repeats pixels up to size x size."""
    factor = size // images.shape[-1]
    return images.repeat(factor, -1).repeat(factor, -2)


def batch(number, size, channels, image_size, classes):
    """Images and their labels: a coarse pattern of the class, finer noise, and noise of each pixel."""
    labels = words("labels", number, size) % classes
    pattern = np.stack([uniform("pattern", c, channels * 16).reshape(channels, 4, 4) for c in range(classes)])
    coarse = uniform("coarse", number, size * channels * 64).reshape(size, channels, 8, 8)
    fine = uniform("fine", number, size * channels * image_size**2)
    images = _enlarge(pattern[labels], image_size) + np.float32(0.5) * _enlarge(coarse, image_size)
    images += np.float32(0.25) * fine.reshape(images.shape)
    return images, labels.astype(np.int64)


def projections(name, gradient):
    """Inner products of a gradient with fixed vectors of +1 and -1; their differences bound the error's norm."""
    flat = gradient.astype(np.float64).reshape(-1)
    bits = words("signs " + name, 0, flat.size)
    return [float(flat @ (1.0 - 2.0 * (bits >> np.uint32(k) & np.uint32(1)))) for k in range(PROJECTIONS)]
