/* An emulation of NVIDIA's management library, as much of it as tells what a process holds of a GPU: its allocations, and 64 MiB
 * for what a context takes. LAMINA_EMULATED_NVML=0: it refuses, as in a container without rights. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda/nvml.h"

#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, UNINITIALIZED = 1, NOT_FOUND = 6, TOO_SMALL = 7, MOST_GPUS = 64 };
static const unsigned long long context_bytes = 64ull << 20;

struct nvmlDevice_st {
    int ordinal;
};
static struct nvmlDevice_st gpus[MOST_GPUS];

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count,
                                                   struct lam_nvml_process *processes);

int nvmlInit_v2(void) {
    const char *wanted = getenv("LAMINA_EMULATED_NVML");
    return wanted && !strcmp(wanted, "0") ? UNINITIALIZED : SUCCESS;
}

int nvmlShutdown(void) {
    return SUCCESS;
}

/* The emulator's GPU N has bus N + 1. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device) {
    unsigned domain, bus;
    if (sscanf(bus_id, "%x:%x:", &domain, &bus) != 2 || bus < 1 || bus > MOST_GPUS) return NOT_FOUND;
    *device = &gpus[bus - 1];
    (*device)->ordinal = (int)bus - 1;
    return SUCCESS;
}

/* Another process, too, which is not to be taken for this one. */
int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count,
                                            struct lam_nvml_process *processes) {
    size_t (*used)(int) = NULL;
    unsigned room = *count;
    *count = 2;
    if (room < 2) return TOO_SMALL;
    void *backend = dlopen("liblamina_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    if (!backend) return NOT_FOUND;
    void *found = dlsym(backend, "emulator_memory_used");
    memcpy(&used, &found, sizeof used);
    processes[0] = (struct lam_nvml_process){.pid = 1, .bytes = 12345};
    processes[1] =
        (struct lam_nvml_process){.pid = (unsigned)getpid(), .bytes = used(device->ordinal) + context_bytes};
    dlclose(backend);
    return SUCCESS;
}
