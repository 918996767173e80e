#include "cuda_emulator/cudnn_cublas.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator::library {

/* ---- numbers ---- */

namespace {

float widened(uint16_t bits) {
    uint32_t u = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &u, sizeof value);
    return value;
}

uint32_t bits_of(float value) {
    uint32_t u;
    memcpy(&u, &value, sizeof u);
    return u;
}

uint16_t narrowed(float value) {
    uint32_t u = bits_of(value);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

} // namespace

void load(element type, const void *base, int64_t first, int64_t stride, int64_t count, float *to) {
    if (type == element::f32) {
        const float *from = (const float *)base + first;
        for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
    } else {
        const uint16_t *from = (const uint16_t *)base + first;
        for (int64_t i = 0; i < count; i++) to[i] = widened(from[i * stride]);
    }
}

void store(element type, void *base, int64_t first, int64_t stride, int64_t count, const float *from) {
    if (type == element::f32) {
        float *to = (float *)base + first;
        for (int64_t i = 0; i < count; i++) to[i * stride] = from[i];
    } else {
        uint16_t *to = (uint16_t *)base + first;
        for (int64_t i = 0; i < count; i++) to[i * stride] = narrowed(from[i]);
    }
}

void round_to_tf32(float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t u = bits_of(values[i]);
        if ((u & 0x7F800000u) == 0x7F800000u) continue;
        u = (u + 0x1000u) & ~0x1FFFu;
        memcpy(values + i, &u, sizeof u);
    }
}

void add(float *to, const float *from, int64_t count) {
    for (int64_t j = 0; j < count; j++) to[j] += from[j];
}

namespace {

/* Written out, because compilers do not make vectors of loops of unknown length at -O2. */
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
enum { LANES = 4, WIDE = 4 };

void add_wide(float *sum, const float *rows, const terms &t) {
    lanes *to = (lanes *)sum;
    lanes s0 = to[0], s1 = to[1], s2 = to[2], s3 = to[3];
    for (int64_t i = 0; i < t.k; i++) {
        const lanes *row = (const lanes *)(rows + i * t.row_step);
        float f = t.factors[i * t.factor_step];
        s0 += f * row[0], s1 += f * row[1], s2 += f * row[2], s3 += f * row[3];
    }
    to[0] = s0, to[1] = s1, to[2] = s2, to[3] = s3;
}

void add_one(float *sum, const float *rows, const terms &t) {
    float s = *sum;
    for (int64_t i = 0; i < t.k; i++) s += t.factors[i * t.factor_step] * rows[i * t.row_step];
    *sum = s;
}

} // namespace

void add_terms(float *sum, int64_t count, const terms &t) {
    int64_t j = 0;
    for (; j + WIDE * LANES <= count; j += WIDE * LANES) add_wide(sum + j, t.rows + j, t);
    for (; j < count; j++) add_one(sum + j, t.rows + j, t);
}

uint64_t scramble(uint64_t counter) {
    uint64_t z = counter * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t next_count() {
    static std::atomic<uint64_t> counter{0};
    return counter.fetch_add(1, std::memory_order_relaxed) + 1; /* orders nothing: races must show */
}

/* ---- calls ---- */

void refuse(int status, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    throw refusal{status, text};
}

std::string &last_refusal() {
    static thread_local std::string text;
    return text;
}

void remember_refusal(const char *name, const std::string &text) {
    static const bool explain = getenv("LAMINA_EMULATED_EXPLAIN") != nullptr;
    last_refusal() = std::string(name) + ": " + text;
    if (explain) fprintf(stderr, "emulator: refused: %s\n", last_refusal().c_str());
}

void check_operands(int invalid, cudaStream_t stream, const char *call,
                    const std::vector<operand> &operands) {
    for (const operand &o : operands) {
        if (o.bytes == 0) continue;
        if (!o.memory) refuse(invalid, "%s is NULL", o.name);
        if ((uintptr_t)o.memory % o.alignment != 0)
            refuse(invalid, "%s is not aligned to %zu bytes", o.name, o.alignment);
        check_device_range(stream, o.memory, o.bytes, (std::string(call) + ": " + o.name).c_str());
    }
    for (const operand &a : operands)
        for (const operand &b : operands) {
            auto a0 = (uintptr_t)a.memory, b0 = (uintptr_t)b.memory;
            if (&a != &b && a.written && a0 < b0 + b.bytes && b0 < a0 + a.bytes)
                refuse(invalid, "%s is written and overlaps %s", a.name, b.name);
        }
}

void enqueue(int failed, cudaStream_t stream, const char *name, const std::vector<operand> &operands,
             std::function<void()> work) {
    std::vector<use> uses;
    for (const operand &o : operands)
        if (o.bytes > 0) uses.push_back({o.memory, o.bytes, o.name});
    cudaError_t error = emulator::enqueue(stream, name, uses, std::move(work));
    if (error != cudaSuccess) refuse(failed, "the device has failed: %s", cudaGetErrorName(error));
}

void scribble(void *workspace, size_t bytes) {
    if (bytes > 0) memset(workspace, 0xFF, bytes);
}

} // namespace emulator::library
