/* Copies and sums that are launched together (kernels/cuda/bundle.cu) are those that they are alone: more than a launch takes, of
 * all types and of lengths around a block's. */
#include <cstring>
#include <string>

#include "cuda/bundle.cu"
#include "cuda_emulator/faults.h"
#include "cuda_emulator/test_setup.h"

void lam_cuda_check(struct lam_stream *, cudaError_t error, const char *) {
    OK(error);
}
size_t lam_dtype_bytes(enum lam_dtype dtype) {
    return dtype == LAM_BF16 ? 2 : 4;
}

namespace {

struct copy {
    enum lam_dtype from, to;
    int groups, rows, columns;
    size_t from_at, to_at; /* bytes */
    size_t count() const { return (size_t)groups * (size_t)rows * (size_t)columns; }
};

/* 0, 1, 2, ..., exact in bf16. */
float number_of(size_t i) {
    return (float)(i % 251);
}

float read_number(const std::vector<unsigned char> &bytes, size_t at, enum lam_dtype dtype, size_t i) {
    if (dtype == LAM_F32) {
        float value;
        memcpy(&value, bytes.data() + at + 4 * i, sizeof value);
        return value;
    }
    bf16 value;
    memcpy(&value, bytes.data() + at + 2 * i, sizeof value);
    return load(&value);
}

std::vector<copy> make_copies(size_t *from_bytes, size_t *to_bytes) {
    static const int shapes[][3] = {{16, 16, 9}, {1, 1, 2047}, {1, 1, 2048}, {1, 2049, 1}, {1, 1, 1},
                                    {3, 7, 5},   {2, 1, 64},   {40, 33, 25}, {5, 64, 1}};
    std::vector<copy> copies;
    for (int i = 0; i < 200; i++) {
        const int *s = shapes[i % 9];
        copy c = {i % 2 ? LAM_BF16 : LAM_F32,
                  i / 2 % 2 ? LAM_BF16 : LAM_F32,
                  s[0],
                  s[1],
                  s[2],
                  *from_bytes,
                  *to_bytes};
        *from_bytes += (c.count() * lam_dtype_bytes(c.from) + 63) / 64 * 64;
        *to_bytes += (c.count() * lam_dtype_bytes(c.to) + 63) / 64 * 64;
        copies.push_back(c);
    }
    return copies;
}

void fill_source(std::vector<unsigned char> &bytes, const copy &c) {
    for (size_t i = 0; i < c.count(); i++) {
        const float value = number_of(i);
        bf16 narrow;
        store(&narrow, value);
        if (c.from == LAM_F32)
            memcpy(bytes.data() + c.from_at + 4 * i, &value, 4);
        else
            memcpy(bytes.data() + c.from_at + 2 * i, &narrow, 2);
    }
}

void expect_transposed(const std::vector<unsigned char> &result, const copy &c) {
    size_t i = 0;
    for (int g = 0; g < c.groups; g++)
        for (int b = 0; b < c.columns; b++)
            for (int a = 0; a < c.rows; a++) {
                const size_t from = ((size_t)g * (size_t)c.rows + (size_t)a) * (size_t)c.columns + (size_t)b;
                CHECK(read_number(result, c.to_at, c.to, i++) == number_of(from));
            }
}

/* `parts` rows of 70 numbers, of which the first `count` columns are summed. */
struct sum {
    int parts, count;
};
constexpr int stride = 70;

void check_sums(const std::vector<sum> &sums, const std::vector<float> &source,
                const std::vector<float> &result) {
    for (size_t s = 0; s < sums.size(); s++)
        for (int i = 0; i < stride; i++) {
            float expected = 0;
            for (int p = 0; p < sums[s].parts && i < sums[s].count; p++)
                expected += source[(size_t)(p * stride + i)];
            CHECK(result[s * stride + (size_t)i] == expected); /* whole numbers: exact in any order */
        }
}

/* Sums between copies, all of them together. */
void sums_and_copies() {
    setup s;
    const std::vector<sum> sums = {{1, 70}, {2, 32}, {8, 33}, {9, 1}, {100, 64}, {7, 31}, {16, 70}};
    std::vector<float> source(100 * stride);
    for (size_t i = 0; i < source.size(); i++) source[i] = number_of(i) - 100;
    const size_t places = sums.size() * stride;
    memory<float> from(source.size()), to(places), copied(source.size());
    from.write(source, s.stream);
    to.write(std::vector<float>(places), s.stream);
    static struct lam_stream stream;
    stream = {};
    stream.stream = s.stream;
    lam_cuda_bundle_begin(&stream);
    for (size_t i = 0; i < sums.size(); i++) {
        lam_cuda_fold(&stream, from.data, sums[i].parts, stride, to.data + i * stride, sums[i].count);
        const size_t begin = source.size() * i / sums.size(), end = source.size() * (i + 1) / sums.size();
        lam_cuda_transpose(&stream, from.data + begin, LAM_F32, copied.data + begin, LAM_F32, 1, 1,
                           (int64_t)(end - begin));
    }
    CHECK(stream.bundle.count == 2 * (int)sums.size());
    lam_cuda_bundle_end(&stream);
    check_sums(sums, source, to.read(s.stream));
    CHECK(copied.read(s.stream) == source);
}

/* `together`: how many are put between a begin and an end. */
void check_copies(int together) {
    setup s;
    size_t from_bytes = 0, to_bytes = 0;
    const std::vector<copy> copies = make_copies(&from_bytes, &to_bytes);
    std::vector<unsigned char> source(from_bytes);
    for (const copy &c : copies) fill_source(source, c);
    memory<unsigned char> from(from_bytes), to(to_bytes);
    from.write(source, s.stream);
    static struct lam_stream stream;
    stream = {};
    stream.stream = s.stream;
    for (size_t i = 0; i < copies.size(); i++) {
        const copy &c = copies[i];
        if (together && i % (size_t)together == 0) lam_cuda_bundle_begin(&stream);
        lam_cuda_transpose(&stream, from.data + c.from_at, c.from, to.data + c.to_at, c.to, c.groups, c.rows,
                           c.columns);
        if (together && (i + 1) % (size_t)together == 0) lam_cuda_bundle_end(&stream);
    }
    lam_cuda_bundle_end(&stream);
    CHECK(stream.bundle.count == 0 && !stream.bundling);
    const std::vector<unsigned char> result = to.read(s.stream);
    for (const copy &c : copies) expect_transposed(result, c);
}

void alone() {
    check_copies(0);
}
void few() {
    check_copies(7);
}
void as_many_as_fit() {
    check_copies(LAM_CUDA_MOST_BUNDLED);
}
void all() {
    check_copies(1000);
}

} // namespace

int main() {
    expect_success("copies alone", alone);
    expect_success("a few together", few);
    expect_success("as many as fit", as_many_as_fit);
    expect_success("more than fit", all);
    expect_success("sums among copies", sums_and_copies);
    return test_result();
}
