/* What the tests of the emulated cuDNN and cuBLASLt have in common: numbers, and memory of a device. */
#ifndef LAM_CUDA_EMULATOR_LIBRARIES_TEST_H
#define LAM_CUDA_EMULATOR_LIBRARIES_TEST_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <cuda_runtime_api.h>

#include "cuda_emulator/faults.h"
#include "cuda_emulator/sanitizers.h"
#include "cuda_emulator/test_harness.h"

/* Of calls of all three libraries. */
#define WORKS(call) CHECK((call) == 0)

enum {
    EXIT_LEAKED = 97,
    EXIT_RACE = 66
}; /* of a process that ends with something alive; of ThreadSanitizer */

/* Pieces of work that have run. */
inline long work_done() {
    return emulator_calls("work");
}

/* ---- numbers ---- */

enum class element { f32, bf16 };

inline size_t size_of(element type) {
    return type == element::f32 ? 4 : 2;
}

/* In [-1, 1), the same for the same seed. */
class numbers {
  public:
    explicit numbers(uint64_t seed) : state(seed * 2 + 1) {}
    double next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (double)(int32_t)(state >> 32) * 0x1p-31;
    }

  private:
    uint64_t state;
};

/* The nearest value with `bits` bits of mantissa behind the point; ties as `even` says, or away from zero. */
inline double with_mantissa(double value, int bits, bool even) {
    if (value == 0) return 0;
    int exponent;
    double scaled = std::ldexp(std::frexp(value, &exponent), bits + 1);
    double rounded = even ? std::nearbyint(scaled) : std::round(scaled);
    return std::ldexp(rounded, exponent - bits - 1);
}

inline double as_stored(element type, double value) {
    return type == element::f32 ? (double)(float)value : with_mantissa((float)value, 7, true);
}
inline double as_tf32(double value) {
    return with_mantissa(value, 10, false);
}

inline std::vector<double> random_values(element type, size_t count, uint64_t seed) {
    numbers source(seed);
    std::vector<double> values(count);
    for (double &v : values) v = as_stored(type, source.next());
    return values;
}

inline std::vector<double> rounded_to_tf32(std::vector<double> values) {
    for (double &v : values) v = as_tf32(v);
    return values;
}

/* The largest difference over the largest value. */
inline double difference(const std::vector<double> &a, const std::vector<double> &b) {
    CHECK(a.size() == b.size());
    double most = 0, scale = 0;
    for (size_t i = 0; i < a.size(); i++) {
        if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
        most = std::fmax(most, std::fabs(a[i] - b[i]));
        scale = std::fmax(scale, std::fabs(b[i]));
    }
    return scale > 0 ? most / scale : most;
}

/* What a result of this type may be off from an exact sum. */
inline double tolerance(element type) {
    return type == element::f32 ? 2e-6 : 0x1p-8;
}

/* ---- memory of a device ---- */

/* Fresh memory is NaN, for both element types. */
class buffer {
  public:
    explicit buffer(size_t bytes_) : bytes(bytes_) {
        WORKS(cudaMalloc(&memory, bytes));
        fill(0xFF);
    }
    buffer(element type, const std::vector<double> &values) : buffer(values.size() * size_of(type)) {
        write(type, values);
    }
    buffer(const buffer &) = delete;
    ~buffer() { cudaFree(memory); }

    void fill(int byte) {
        std::vector<unsigned char> host(bytes, (unsigned char)byte);
        WORKS(cudaMemcpy(memory, host.data(), bytes, cudaMemcpyHostToDevice));
    }
    std::vector<unsigned char> raw() const {
        std::vector<unsigned char> host(bytes);
        WORKS(cudaMemcpy(host.data(), memory, bytes, cudaMemcpyDeviceToHost));
        return host;
    }
    void write(element type, const std::vector<double> &values) {
        std::vector<unsigned char> host(values.size() * size_of(type));
        for (size_t i = 0; i < values.size(); i++) {
            float f = (float)values[i];
            uint32_t bits;
            memcpy(&bits, &f, 4);
            uint16_t high = (uint16_t)(bits >> 16);
            if (type == element::f32)
                memcpy(&host[4 * i], &f, 4);
            else
                memcpy(&host[2 * i], &high, 2);
        }
        WORKS(cudaMemcpy(memory, host.data(), host.size(), cudaMemcpyHostToDevice));
    }
    std::vector<double> read(element type) const {
        std::vector<unsigned char> host = raw();
        std::vector<double> values(bytes / size_of(type));
        for (size_t i = 0; i < values.size(); i++) {
            uint32_t bits = 0;
            if (type == element::f32)
                memcpy(&bits, &host[4 * i], 4);
            else
                memcpy((char *)&bits + 2, &host[2 * i], 2);
            float f;
            memcpy(&f, &bits, 4);
            values[i] = f;
        }
        return values;
    }
    char *at(size_t offset) const { return (char *)memory + offset; }

    void *memory = nullptr;
    size_t bytes;
};

#endif
