/* Versions, memory, reach and, where NVIDIA's management library is installed, the state of a GPU. That library is loaded when
 * it is asked for: nothing here may keep a program from starting. */
#include "cuda/report.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

#include "cuda/libraries.h"

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

/* ---- the management library (NVML) ---- */

typedef struct nvmlDevice_st *nvmlDevice_t;

/* What is asked for, as nvml.h declares it; 0 is success. Functions that a version does not have are NULL. */
struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*driver_version)(char *version, unsigned length);
    int (*device)(const char *bus_id, nvmlDevice_t *device);
    int (*temperature)(nvmlDevice_t device, int sensor, unsigned *celsius);
    int (*power)(nvmlDevice_t device, unsigned *milliwatts);
    int (*power_limit)(nvmlDevice_t device, unsigned *milliwatts);
    int (*clock)(nvmlDevice_t device, int type, unsigned *mhz);
    int (*most_clock)(nvmlDevice_t device, int type, unsigned *mhz);
    int (*ecc)(nvmlDevice_t device, int *current, int *pending);
    int (*link_generation)(nvmlDevice_t device, unsigned *generation);
    int (*link_width)(nvmlDevice_t device, unsigned *lanes);
};

static void *load_nvml(struct nvml *nvml) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return NULL;
    const struct {
        const char *symbol;
        void *function;
    } table[] = {
        {"nvmlInit_v2", &nvml->init},
        {"nvmlShutdown", &nvml->shutdown},
        {"nvmlSystemGetDriverVersion", &nvml->driver_version},
        {"nvmlDeviceGetHandleByPciBusId_v2", &nvml->device},
        {"nvmlDeviceGetTemperature", &nvml->temperature},
        {"nvmlDeviceGetPowerUsage", &nvml->power},
        {"nvmlDeviceGetEnforcedPowerLimit", &nvml->power_limit},
        {"nvmlDeviceGetClockInfo", &nvml->clock},
        {"nvmlDeviceGetMaxClockInfo", &nvml->most_clock},
        {"nvmlDeviceGetEccMode", &nvml->ecc},
        {"nvmlDeviceGetCurrPcieLinkGeneration", &nvml->link_generation},
        {"nvmlDeviceGetCurrPcieLinkWidth", &nvml->link_width},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *found = dlsym(library, table[i].symbol);
        memcpy(table[i].function, &found, sizeof found);
    }
    if (nvml->init && nvml->shutdown && nvml->device) return library;
    dlclose(library);
    return NULL;
}

static void report_clock(const struct nvml *nvml, nvmlDevice_t device, int type, const char *name,
                         FILE *file) {
    unsigned now, most;
    if (nvml->clock && nvml->most_clock && nvml->clock(device, type, &now) == 0 &&
        nvml->most_clock(device, type, &most) == 0)
        line(file, name, "%u MHz, at most %u", now, most);
}

static void report_state(const struct nvml *nvml, nvmlDevice_t device, FILE *file) {
    enum { OF_GPU = 0, MULTIPROCESSORS = 1, MEMORY = 2 };
    unsigned value, most;
    int current, pending;
    if (nvml->temperature && nvml->temperature(device, OF_GPU, &value) == 0)
        line(file, "temperature", "%u C", value);
    if (nvml->power && nvml->power_limit && nvml->power(device, &value) == 0 &&
        nvml->power_limit(device, &most) == 0)
        line(file, "power", "%.0f W, at most %.0f", 1e-3 * value, 1e-3 * most);
    report_clock(nvml, device, MULTIPROCESSORS, "clock", file);
    report_clock(nvml, device, MEMORY, "memory's clock", file);
    if (nvml->ecc && nvml->ecc(device, &current, &pending) == 0)
        line(file, "ECC", "%s", current ? "on" : "off");
    if (nvml->link_generation && nvml->link_width && nvml->link_generation(device, &value) == 0 &&
        nvml->link_width(device, &most) == 0)
        line(file, "PCIe", "generation %u, %u lanes", value, most);
}

static void report_nvml(int ordinal, FILE *file) {
    struct cudaDeviceProp properties;
    struct nvml nvml = {0};
    if (!succeeded(cudaGetDeviceProperties(&properties, ordinal))) return;
    void *library = load_nvml(&nvml);
    if (!library) return;
    if (nvml.init() == 0) {
        char text[96], bus_id[32];
        nvmlDevice_t device;
        snprintf(bus_id, sizeof bus_id, "%08x:%02x:%02x.0", (unsigned)properties.pciDomainID,
                 (unsigned)properties.pciBusID, (unsigned)properties.pciDeviceID);
        if (nvml.driver_version && nvml.driver_version(text, sizeof text) == 0)
            line(file, "driver", "%s", text);
        line(file, "PCI bus", "%s", bus_id);
        if (nvml.device(bus_id, &device) == 0) report_state(&nvml, device, file);
        nvml.shutdown();
    }
    dlclose(library);
}

void lam_cuda_report(struct lam_backend_device *device, FILE *file) {
    int ordinal = lam_cuda_ordinal(device);
    if (!succeeded(cudaSetDevice(ordinal))) return;
    report_versions(file);
    report_memory(file);
    report_peers(ordinal, file);
    report_nvml(ordinal, file);
}
