/* Choosing kernels by timing them (kernels/cuda/measure.c), with kernels that sleep. */
#include <cstring>
#include <string>
#include <vector>

extern "C" {
#include "base/log.h"
}
#include "cuda/creation.h"
#include "cuda/libraries.h"
#include "cuda/measure.h"
#include "cuda_emulator/faults.h"
#include "cuda_emulator/test_harness.h"

namespace {

/* What a kernel does is said by its name. */
constexpr char refused[] = "refused", failing[] = "failing", by_rule[] = "by rule", slow[] = "slow",
               middling[] = "middling", fast[] = "fast", stalling[] = "stalling";

constexpr int batch = 6, slice = 4, features = 5, inputs = 7;
constexpr size_t weight_bytes = 300, workspace_bytes = 1000, partial_bytes = 40;

int kernels_alive, runs, recorded_runs, slept[2]; /* how often a slow one and a stalling one slept */
std::vector<std::string> warnings;

struct sleeper {
    struct lam_kernel base;
    const char *name;
};

void sleep_on_stream(void *name) {
    const char *n = (const char *)name;
    slept[1] += n == stalling;
    const int times = slept[1]; /* in an estimate, and in rounds of one run and of six */
    const bool stalls = n == stalling && (times == 2 || times == 5 || times == 10);
    slept[0] += n == slow;
    usleep(stalls ? 200000 : n == slow ? 60000 : n == middling ? 20000 : 300);
}

struct range {
    const void *begin;
    size_t bytes;
};

/* Aligned, one behind the other without overlapping, and memory from end to end: that is the emulator's to see. */
void check_ranges(const std::vector<range> &ranges, struct lam_stream *stream) {
    for (size_t i = 0; i < ranges.size(); i++) {
        const uintptr_t begin = (uintptr_t)ranges[i].begin;
        CHECK(begin && begin % 256 == 0);
        for (size_t j = 0; j < i; j++) {
            const uintptr_t other = (uintptr_t)ranges[j].begin;
            CHECK(begin + ranges[i].bytes <= other || other + ranges[j].bytes <= begin);
        }
        lam_cuda_check(stream, cudaMemsetAsync((void *)begin, 0, ranges[i].bytes, stream->stream),
                       "clearing");
    }
}

void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const sleeper *k = (const sleeper *)kernel;
    struct lam_stream *stream = args->stream;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    lam_cuda_check(stream, cudaStreamIsCapturing(stream->stream, &status), "looking for a capture");
    recorded_runs += status == cudaStreamCaptureStatusActive;
    runs++;
    CHECK(args->count == slice && !args->accumulate && !args->in[2] && !args->out[1]);
    if (k->name == failing) return lam_cuda_failed(stream, LAM_ERR_DEVICE, "a test", "not today");
    check_ranges({{args->in[0], slice * inputs * sizeof(float)},
                  {args->in[1], weight_bytes},
                  {args->out[0], slice * features * sizeof(float)},
                  {args->workspace, workspace_bytes},
                  {args->partial, partial_bytes}},
                 stream);
    lam_cuda_check(stream, cudaLaunchHostFunc(stream->stream, sleep_on_stream, (void *)k->name), "sleeping");
}

void destroy(struct lam_kernel *kernel) {
    kernels_alive--;
    free(kernel);
}

lam_status create(struct lam_backend_device *, const struct lam_op *op,
                  const struct lam_kernel_options *options, struct lam_kernel **kernel, const char **chosen) {
    const char *name = options->choice ? options->choice : by_rule;
    if (name == refused) return lam_fail(LAM_ERR_UNSUPPORTED, "not this one");
    lam_status status = lam_cuda_kernel_new(sizeof(sleeper), op, kernel);
    if (status != LAM_OK) return status;
    ((sleeper *)*kernel)->name = *chosen = name;
    (*kernel)->run = run;
    (*kernel)->destroy = destroy;
    (*kernel)->prepared_bytes[1] = weight_bytes;
    (*kernel)->workspace_bytes = workspace_bytes;
    (*kernel)->partial_bytes = partial_bytes;
    kernels_alive++;
    return LAM_OK;
}

struct lam_operand operand(bool batched, std::initializer_list<int64_t> dims) {
    struct lam_operand o = {};
    o.present = true;
    o.batched = batched;
    o.desc.dtype = LAM_F32;
    for (int64_t d : dims) o.desc.shape.dim[o.desc.shape.rank++] = d;
    return o;
}

struct measured {
    lam_status status;
    std::string chosen;
};

struct opened {
    struct lam_backend_device *device;
    opened() { CHECK(lam_backend_cuda.device_open("0", &device) == LAM_OK); }
    ~opened() { lam_backend_cuda.device_close(device); }
};

/* Nothing but the chosen kernel is left, and that is destroyed. */
measured measure_on(struct lam_backend_device *device, std::initializer_list<const char *> names) {
    struct lam_op op = {};
    op.kind = LAM_OP_LINEAR;
    op.inputs = 3;
    op.outputs = 2;
    op.in[0] = operand(true, {batch, inputs});
    op.in[1] = operand(false, {features, inputs});
    op.out[0] = operand(true, {batch, features});
    op.out[1] = operand(false, {features});
    const int slices[] = {slice, 2};
    struct lam_kernel_options options = {};
    options.slices = slices;
    options.slice_count = 2;
    options.lanes = 1;
    std::vector<const char *> choices(names);
    choices.push_back(nullptr);
    struct lam_kernel *kernel = nullptr;
    const char *chosen = nullptr;
    const size_t before = emulator_memory_used(0);
    measured result = {lam_cuda_measure(device, create, choices.data(), &op, &options, &kernel, &chosen), ""};
    CHECK(emulator_memory_used(0) == before);
    CHECK(kernels_alive == (result.status == LAM_OK ? 1 : 0));
    if (result.status == LAM_OK) {
        result.chosen = chosen;
        CHECK(((sleeper *)kernel)->name == chosen);
        kernel->destroy(kernel);
    }
    return result;
}

measured measure(std::initializer_list<const char *> names) {
    opened gpu;
    return measure_on(gpu.device, names);
}

void fastest() {
    CHECK(measure({slow, fast, middling}).chosen == fast);
    CHECK(measure({fast, middling, slow}).chosen == fast);
    CHECK(measure({middling, slow, fast}).chosen == fast);
}

void refused_ones() {
    CHECK(measure({refused, slow, middling, refused}).chosen == middling);
    CHECK(runs > 0);
    runs = 0;
    CHECK(measure({refused, refused}).chosen == by_rule);
    CHECK(measure({refused, slow}).chosen == slow); /* nothing to compare it with */
    CHECK(runs == 0);
}

void note_warning(void *, enum lam_log_level, const char *text) {
    warnings.push_back(text);
}

void failing_ones() {
    lam_log_set_sink(note_warning, nullptr);
    CHECK(measure({slow, failing, middling, failing}).chosen == middling);
    CHECK(warnings.size() == 2);
    CHECK(warnings[0] == "linear is not measured as failing: cuda:0: a test: not today");
    lam_log_set_sink(nullptr, nullptr);
    CHECK(measure({failing, slow}).chosen == slow);
    CHECK(measure({failing, failing}).status == LAM_ERR_DEVICE &&
          strstr(lam_error_text(), "a test: not today"));
}

void little_memory() {
    opened gpu;
    emulator_set_memory(0, emulator_memory_used(0) + 1000);
    CHECK(measure_on(gpu.device, {slow, fast}).status == LAM_ERR_NO_MEMORY);
    CHECK(runs == 0);
}

/* One that is far behind is not run again and again: three times alone, two rounds of two. */
void beaten() {
    measure({slow, slow});
    int all = slept[0];
    slept[0] = 0;
    measure({fast, slow});
    CHECK(slept[0] == 7 && all > 2 * slept[0]);
}

/* A stall now and then does not decide. */
void disturbed() {
    CHECK(measure({middling, stalling, slow}).chosen == stalling);
    CHECK(slept[1] >= 5);
}

void recorded() {
    CHECK(measure({fast, middling}).chosen == fast);
    CHECK(recorded_runs >= 2 && runs == recorded_runs + 6);
}

/* Whatever call fails: one of the candidates is left, or there is an error; and no memory, kernel or work. */
void failing_calls() {
    int failures = 0;
    for (long n = 1;; n++) {
        opened gpu;
        const long before = emulator_calls("any");
        emulator_fail("any", n);
        measured result = measure_on(gpu.device, {fast, middling});
        const bool reached = emulator_calls("any") - before >= n;
        emulator_restore();
        if (result.status != LAM_OK) CHECK(strlen(lam_error_text()) > 0);
        failures += result.status != LAM_OK;
        if (!reached) break;
    }
    CHECK(failures > 10);
}

} // namespace

int main() {
    expect_success("the fastest is taken", fastest);
    expect_success("what is refused is left out", refused_ones);
    expect_success("what fails is left out", failing_ones);
    expect_success("too little memory", little_memory);
    expect_success("far behind is beaten", beaten);
    expect_success("stalls do not decide", disturbed);
    expect_success("recorded", recorded);
    expect_success("failing calls", failing_calls);
    return test_result();
}
