#include "cuda_emulator/cudnn_math.h"

#include <cmath>

namespace emulator::cudnn {

using library::add_terms;

namespace {

/* ---- the end of a sum ---- */

void add_noise(const output &o, int64_t first, int64_t count, float *sum) {
    float unit = o.to.of() == element::f32 ? 0x1p-23f : 0x1p-8f;
    for (int64_t i = 0; i < count; i++) {
        int step = (int)(library::scramble(o.noise + (uint64_t)(first + i)) % 3) - 1;
        sum[i] *= 1.0f + unit * (float)step;
    }
}

float relu(float value, bool propagate_nan) {
    if (std::isnan(value)) return propagate_nan ? value : 0.0f;
    return value > 0 ? value : 0.0f;
}

/* All channels at (n, h, w) of the output; overwrites the sums. `room` is as large. */
void finish(const output &o, int n, int h, int w, float *sum, std::vector<float> &room) {
    int c = o.to.c;
    room.resize((size_t)c);
    if (o.noise) add_noise(o, o.to.at(n, 0, h, w), c, sum);
    for (int i = 0; i < c; i++) sum[i] *= o.alpha;
    if (o.beta != 0) {
        library::load(o.to.of(), o.z, o.z_of.at(n, 0, h, w), o.z_of.sc, c, room.data());
        for (int i = 0; i < c; i++) sum[i] += o.beta * room[(size_t)i];
    }
    if (o.bias) {
        library::load(o.to.of(), o.bias, 0, 1, c, room.data());
        library::add(sum, room.data(), c);
    }
    if (o.relu)
        for (int i = 0; i < c; i++) sum[i] = relu(sum[i], o.propagate_nan);
    library::store(o.to.of(), o.memory, o.to.at(n, 0, h, w), o.to.sc, c, sum);
}

/* ---- operands as float ---- */

/* One image as [H][W][C], with what tensor cores would drop dropped. */
void read_image(const tensor &t, const void *memory, int n, bool tf32, std::vector<float> &to) {
    to.resize((size_t)(t.h * t.w) * (size_t)t.c);
    float *at = to.data();
    for (int h = 0; h < t.h; h++)
        for (int w = 0; w < t.w; w++, at += t.c)
            library::load(t.of(), memory, t.at(n, 0, h, w), t.sc, t.c, at);
    if (tf32) library::round_to_tf32(to.data(), (int64_t)to.size());
}

/* The filter as [R][S][inputs of one group][all outputs]; `transposed`: as backward data sees it, from K to C. */
std::vector<float> read_filter(const problem &p, const void *memory, bool transposed) {
    const filter &f = p.w;
    int per_group = f.n / p.conv.groups;
    int outputs = transposed ? p.x.c : f.n, inputs = transposed ? per_group : f.c;
    std::vector<float> to((size_t)f.count()), row((size_t)f.c);
    for (int k = 0; k < f.n; k++)
        for (int r = 0; r < f.h; r++)
            for (int s = 0; s < f.w; s++) {
                library::load(f.of(), memory, f.at(k, 0, r, s), f.sc, f.c, row.data());
                float *tap = to.data() + (size_t)(r * f.w + s) * (size_t)inputs * (size_t)outputs;
                for (int c = 0; c < f.c; c++) {
                    int input = transposed ? k % per_group : c;
                    int out = transposed ? k / per_group * f.c + c : k;
                    tap[(size_t)input * (size_t)outputs + (size_t)out] = row[(size_t)c];
                }
            }
    if (p.tf32()) library::round_to_tf32(to.data(), (int64_t)to.size());
    return to;
}

/* ---- where a tap of the filter reads ---- */

struct axis {
    int stride, pad, dilation, limit;
    bool transposed;

    /* The source of output `position` under `tap`, or -1. */
    int source(int position, int tap) const {
        int at = transposed ? position + pad - tap * dilation : position * stride - pad + tap * dilation;
        if (at < 0 || (transposed && at % stride != 0)) return -1;
        if (transposed) at /= stride;
        return at < limit ? at : -1;
    }
};

axis rows(const problem &p, bool transposed) {
    return {p.conv.stride_h, p.conv.pad_h, p.conv.dilation_h, transposed ? p.y.h : p.x.h, transposed};
}
axis wide(const problem &p, bool transposed) {
    return {p.conv.stride_w, p.conv.pad_w, p.conv.dilation_w, transposed ? p.y.w : p.x.w, transposed};
}

/* ---- forward and backward data ---- */

/* sum[out] += source[in] tap[in][out], group by group. */
void add_tap(const float *source, const float *tap, int groups, int inputs, int outputs, float *sum) {
    int each = outputs / groups;
    for (int g = 0; g < groups; g++)
        add_terms(sum + g * each, each, {tap + g * each, outputs, source + g * inputs, 1, inputs});
}

void gather(const problem &p, bool transposed, const void *source, const void *w, const output &o) {
    const tensor &from = transposed ? p.y : p.x;
    axis rows_of = rows(p, transposed), columns_of = wide(p, transposed);
    std::vector<float> taps = read_filter(p, w, transposed), image, sum((size_t)o.to.c), room;
    int inputs = from.c / p.conv.groups;
    for (int n = 0; n < o.to.n; n++) {
        read_image(from, source, n, p.tf32(), image);
        for (int y = 0; y < o.to.h; y++)
            for (int x = 0; x < o.to.w; x++) {
                std::fill(sum.begin(), sum.end(), 0.0f);
                for (int r = 0; r < p.w.h; r++)
                    for (int s = 0; s < p.w.w; s++) {
                        int row = rows_of.source(y, r), column = columns_of.source(x, s);
                        if (row < 0 || column < 0) continue;
                        add_tap(image.data() + ((int64_t)row * from.w + column) * from.c,
                                taps.data() + (int64_t)(r * p.w.w + s) * inputs * o.to.c, p.conv.groups,
                                inputs, o.to.c, sum.data());
                    }
                finish(o, n, y, x, sum.data(), room);
            }
    }
}

/* ---- backward filter ---- */

/* What meets under one tap: [positions][C] of x, and [positions][K] of dy. */
struct pairs {
    std::vector<float> x, dy;
    int64_t count;
};

void gather_pairs(const problem &p, const std::vector<float> &x, const std::vector<float> &dy, int r, int s,
                  pairs &met) {
    axis rows_of = rows(p, false), columns_of = wide(p, false);
    met.x.clear(), met.dy.clear();
    met.count = 0;
    for (int h = 0; h < p.y.h; h++)
        for (int w = 0; w < p.y.w; w++) {
            int row = rows_of.source(h, r), column = columns_of.source(w, s);
            if (row < 0 || column < 0) continue;
            const float *from = x.data() + ((int64_t)row * p.x.w + column) * p.x.c;
            const float *gradient = dy.data() + ((int64_t)h * p.y.w + w) * p.y.c;
            met.x.insert(met.x.end(), from, from + p.x.c);
            met.dy.insert(met.dy.end(), gradient, gradient + p.y.c);
            met.count++;
        }
}

/* sum[K][C of a group] += the products of one image under one tap. */
void add_products(const problem &p, const pairs &met, std::vector<float> &part, float *sum) {
    int per_group = p.w.n / p.conv.groups;
    for (int k = 0; k < p.w.n; k++) {
        part.assign((size_t)p.w.c, 0.0f); /* image by image: shorter sums are more exact */
        add_terms(part.data(), p.w.c,
                  {met.x.data() + k / per_group * p.w.c, p.x.c, met.dy.data() + k, p.y.c, met.count});
        library::add(sum + (int64_t)k * p.w.c, part.data(), p.w.c);
    }
}

} // namespace

output plain_output(const tensor &to, void *memory, float alpha, float beta) {
    return {to, memory, alpha, beta, to, memory, nullptr, false, false, 0};
}

void forward(const problem &p, const void *x, const void *w, const output &y) {
    gather(p, false, x, w, y);
}

void backward_data(const problem &p, const void *w, const void *dy, const output &dx) {
    gather(p, true, dy, w, dx);
}

void backward_filter(const problem &p, const void *x, const void *dy, const output &dw) {
    int taps = p.w.h * p.w.w;
    int64_t each = (int64_t)p.w.n * p.w.c;
    std::vector<float> sum((size_t)(taps * each)), part, image, gradient, room;
    pairs met;
    for (int n = 0; n < p.x.n; n++) {
        read_image(p.x, x, n, p.tf32(), image);
        read_image(p.y, dy, n, p.tf32(), gradient);
        for (int t = 0; t < taps; t++) {
            gather_pairs(p, image, gradient, t / p.w.w, t % p.w.w, met);
            add_products(p, met, part, sum.data() + t * each);
        }
    }
    for (int t = 0; t < taps; t++)
        for (int k = 0; k < p.w.n; k++)
            finish(dw, k, t / p.w.w, t % p.w.w, sum.data() + t * each + (int64_t)k * p.w.c, room);
}

void backward_bias(const tensor &dy_of, const void *dy, const output &db) {
    std::vector<float> sum((size_t)dy_of.c), part((size_t)dy_of.c), image, room;
    for (int n = 0; n < dy_of.n; n++) {
        read_image(dy_of, dy, n, false, image);
        std::fill(part.begin(), part.end(), 0.0f);
        for (size_t at = 0; at < image.size(); at += part.size())
            library::add(part.data(), image.data() + at, dy_of.c);
        library::add(sum.data(), part.data(), dy_of.c);
    }
    finish(db, 0, 0, 0, sum.data(), room);
}

} // namespace emulator::cudnn
