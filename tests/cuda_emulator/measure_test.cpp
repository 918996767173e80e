/* Choosing kernels by timing them (kernels/cuda/measure.c), with kernels that sleep. */
#include <cstring>
#include <string>
#include <vector>

#include "cuda/creation.h"
#include "cuda/libraries.h"
#include "cuda/measure.h"
#include "cuda_emulator/test_harness.h"

namespace {

/* What a kernel does is said by its name. */
constexpr char refused[] = "refused", refused_when_run[] = "refused when run", broken[] = "broken",
               by_rule[] = "by rule", slow[] = "slow", middling[] = "middling", fast[] = "fast";

constexpr int batch = 6, slice = 4, features = 5;
constexpr size_t weight_bytes = 300, workspace_bytes = 1000, partial_bytes = 40;

int kernels_alive, slow_ones; /* how often a slow kernel ran */

struct sleeper {
    struct lam_kernel base;
    const char *name;
};

void sleep_on_stream(void *name) {
    const char *n = (const char *)name;
    slow_ones += n == slow;
    usleep(n == slow ? 9000 : n == middling ? 5000 : 500);
}

/* All that it is given can be written to from end to end; the emulator looks at it. */
void run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    const sleeper *k = (const sleeper *)kernel;
    struct lam_stream *stream = args->stream;
    CHECK(args->count == slice && !args->accumulate && args->in[0] && !args->in[2]);
    if (k->name == refused_when_run)
        return lam_cuda_library_failed(stream, LAM_ERR_UNSUPPORTED, "a test", "not today");
    if (k->name == broken) return lam_cuda_library_failed(stream, LAM_ERR_DEVICE, "a test", "out of order");
    auto clear = [&](void *to, size_t bytes) {
        lam_cuda_check(stream, cudaMemsetAsync(to, 0, bytes, stream->stream), "clearing");
    };
    clear((void *)args->in[1], weight_bytes);
    clear(args->out[0], slice * features * sizeof(float));
    clear(args->workspace, workspace_bytes);
    clear(args->partial, partial_bytes);
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

/* Nothing but the chosen kernel is left. */
measured measure(std::initializer_list<const char *> names) {
    struct lam_backend_device *device;
    CHECK(lam_backend_cuda.device_open("0", &device) == LAM_OK);
    struct lam_op op = {};
    op.kind = LAM_OP_LINEAR;
    op.inputs = 3;
    op.outputs = 2;
    op.in[0] = operand(true, {batch, 7});
    op.in[1] = operand(false, {features, 7});
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
    size_t before, after, total;
    CHECK(cudaMemGetInfo(&before, &total) == cudaSuccess);
    measured result = {lam_cuda_measure(device, create, choices.data(), &op, &options, &kernel, &chosen), ""};
    CHECK(cudaMemGetInfo(&after, &total) == cudaSuccess && before == after);
    CHECK(kernels_alive == (result.status == LAM_OK ? 1 : 0));
    if (result.status == LAM_OK) {
        result.chosen = chosen;
        CHECK(((sleeper *)kernel)->name == chosen);
        kernel->destroy(kernel);
    }
    lam_backend_cuda.device_close(device);
    return result;
}

void fastest() {
    CHECK(measure({slow, fast, middling}).chosen == fast);
    CHECK(measure({fast, middling, slow}).chosen == fast);
    CHECK(measure({middling, slow, fast}).chosen == fast);
}

void refused_ones() {
    CHECK(measure({refused, slow, refused_when_run, middling, refused}).chosen == middling);
    CHECK(measure({refused, refused_when_run}).chosen == by_rule);
}

void failures() {
    measured result = measure({fast, broken, slow});
    CHECK(result.status == LAM_ERR_DEVICE && strstr(lam_error_text(), "a test: out of order"));
}

/* One that is far behind is not run again and again. */
void beaten() {
    measure({slow, fast});
    int first = slow_ones;
    measure({fast, slow});
    CHECK(slow_ones - first == 2 && first > 2);
}

} // namespace

int main() {
    expect_success("the fastest is taken", fastest);
    expect_success("what is refused is left out", refused_ones);
    expect_success("what fails ends it", failures);
    expect_success("far behind is beaten", beaten);
    return test_result();
}
