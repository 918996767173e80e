/* The management library, found by the GPU's place on the bus: CUDA and NVML count GPUs in orders of their own. */
#include "cuda/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cuda_runtime_api.h>

static void find_functions(struct lam_nvml *nvml) {
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
        {"nvmlDeviceGetComputeRunningProcesses_v3", &nvml->processes},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *found = dlsym(nvml->library, table[i].symbol);
        memcpy(table[i].function, &found, sizeof found);
    }
}

static bool find_device(int ordinal, struct lam_nvml *nvml) {
    struct cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    snprintf(nvml->bus_id, sizeof nvml->bus_id, "%08x:%02x:%02x.0", (unsigned)properties.pciDomainID,
             (unsigned)properties.pciBusID, (unsigned)properties.pciDeviceID);
    return nvml->device(nvml->bus_id, &nvml->handle) == 0;
}

bool lam_nvml_open(int ordinal, struct lam_nvml *nvml) {
    *nvml = (struct lam_nvml){.library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (!nvml->library) return false;
    find_functions(nvml);
    if (nvml->init && nvml->shutdown && nvml->device && nvml->init() == 0) {
        if (find_device(ordinal, nvml)) return true;
        nvml->shutdown();
    }
    dlclose(nvml->library);
    return false;
}

void lam_nvml_close(struct lam_nvml *nvml) {
    nvml->shutdown();
    dlclose(nvml->library);
}

uint64_t lam_nvml_process_bytes(const struct lam_nvml *nvml) {
    enum { MOST = 256 };
    struct lam_nvml_process all[MOST];
    unsigned count = MOST, own = (unsigned)getpid();
    if (!nvml->processes || nvml->processes(nvml->handle, &count, all) != 0) return 0;
    for (unsigned i = 0; i < count && i < MOST; i++)
        if (all[i].pid == own && all[i].bytes != ~0ull) return all[i].bytes;
    return 0;
}
