/* Versions, memory, reach and, where NVIDIA's management library is installed, the state of a GPU. */
#include "cuda/report.h"

#include <stdarg.h>

#include "cuda/libraries.h"
#include "cuda/nvml.h"

__attribute__((format(printf, 3, 4))) static void line(FILE *file, const char *name, const char *format,
                                                       ...) {
    va_list arguments;
    fprintf(file, "%-20s  ", name);
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fputc('\n', file);
}

/* Looks at what a call returned, so that the next one is not taken for its failure. */
static bool succeeded(cudaError_t error) {
    if (error != cudaSuccess) cudaGetLastError();
    return error == cudaSuccess;
}

/* ---- the CUDA libraries ---- */

/* 13000 is 13.0. */
static void report_versions(FILE *file) {
    int driver = 0, runtime = 0;
    if (succeeded(cudaDriverGetVersion(&driver)))
        line(file, "driver's CUDA", "%d.%d", driver / 1000, driver % 1000 / 10);
    if (succeeded(cudaRuntimeGetVersion(&runtime)))
        line(file, "CUDA runtime", "%d.%d", runtime / 1000, runtime % 1000 / 10);
    size_t dnn = cudnnGetVersion(), blas = cublasLtGetVersion();
    line(file, "cuDNN", "%zu.%zu.%zu", dnn / 10000, dnn / 100 % 100, dnn % 100);
    line(file, "cuBLASLt", "%zu.%zu.%zu", blas / 10000, blas / 100 % 100, blas % 100);
}

static void report_memory(FILE *file) {
    size_t rest, total;
    if (succeeded(cudaMemGetInfo(&rest, &total)))
        line(file, "memory", "%zu of %zu MiB are free", rest >> 20, total >> 20);
}

static void report_peers(int ordinal, FILE *file) {
    int count = 0, reached;
    if (!succeeded(cudaGetDeviceCount(&count))) return;
    for (int peer = 0; peer < count; peer++) {
        if (peer == ordinal || !succeeded(cudaDeviceCanAccessPeer(&reached, ordinal, peer))) continue;
        char name[32];
        snprintf(name, sizeof name, "access to cuda:%d", peer);
        line(file, name, "%s", reached ? "yes" : "no, copies go through the host");
    }
}

/* ---- the management library ---- */

static void report_clock(const struct lam_nvml *nvml, int type, const char *name, FILE *file) {
    unsigned now, most;
    if (nvml->clock && nvml->most_clock && nvml->clock(nvml->handle, type, &now) == 0 &&
        nvml->most_clock(nvml->handle, type, &most) == 0)
        line(file, name, "%u MHz, at most %u", now, most);
}

static void report_state(const struct lam_nvml *nvml, FILE *file) {
    enum { OF_GPU = 0, MULTIPROCESSORS = 1, MEMORY = 2 };
    unsigned value, most;
    int current, pending;
    if (nvml->temperature && nvml->temperature(nvml->handle, OF_GPU, &value) == 0)
        line(file, "temperature", "%u C", value);
    if (nvml->power && nvml->power_limit && nvml->power(nvml->handle, &value) == 0 &&
        nvml->power_limit(nvml->handle, &most) == 0)
        line(file, "power", "%.0f W, at most %.0f", 1e-3 * value, 1e-3 * most);
    report_clock(nvml, MULTIPROCESSORS, "clock", file);
    report_clock(nvml, MEMORY, "memory's clock", file);
    if (nvml->ecc && nvml->ecc(nvml->handle, &current, &pending) == 0)
        line(file, "ECC", "%s", current ? "on" : "off");
    if (nvml->link_generation && nvml->link_width && nvml->link_generation(nvml->handle, &value) == 0 &&
        nvml->link_width(nvml->handle, &most) == 0)
        line(file, "PCIe", "generation %u, %u lanes", value, most);
}

static void report_nvml(int ordinal, FILE *file) {
    struct lam_nvml nvml;
    if (!lam_nvml_open(ordinal, &nvml)) return;
    char text[96];
    if (nvml.driver_version && nvml.driver_version(text, sizeof text) == 0) line(file, "driver", "%s", text);
    line(file, "PCI bus", "%s", nvml.bus_id);
    report_state(&nvml, file);
    lam_nvml_close(&nvml);
}

void lam_cuda_report(struct lam_backend_device *device, FILE *file) {
    int ordinal = lam_cuda_ordinal(device);
    if (!succeeded(cudaSetDevice(ordinal))) return;
    report_versions(file);
    report_memory(file);
    report_peers(ordinal, file);
    report_nvml(ordinal, file);
}
