/* NVIDIA's management library: what the CUDA runtime does not tell of a GPU. It is loaded when it is asked for, so that nothing
 * of it keeps a program from starting.
 *
 *     struct lam_nvml nvml;
 *     if (lam_nvml_open(ordinal, &nvml)) {
 *         uint64_t bytes = lam_nvml_process_bytes(&nvml);
 *         lam_nvml_close(&nvml);
 *     }
 */
#ifndef LAM_CUDA_NVML_H
#define LAM_CUDA_NVML_H

#include <stdbool.h>
#include <stdint.h>

typedef struct nvmlDevice_st *nvmlDevice_t;

/* nvmlProcessInfo_v2_t */
struct lam_nvml_process {
    unsigned pid;
    unsigned long long bytes; /* all ones: not known */
    unsigned gpu_instance, compute_instance;
};

/* An open library and one GPU's handle. Functions as nvml.h declares them, 0 being success; NULL where a version does not have
 * one. */
struct lam_nvml {
    void *library;
    nvmlDevice_t handle;
    char bus_id[32];
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
    int (*processes)(nvmlDevice_t device, unsigned *count, struct lam_nvml_process *processes);
};

/* Of GPU `ordinal` as CUDA counts them. false: the library is not there, or does not know it. */
bool lam_nvml_open(int ordinal, struct lam_nvml *nvml);
void lam_nvml_close(struct lam_nvml *nvml);

/* What this process holds of the GPU; 0: not known (in a container processes may have other numbers). */
uint64_t lam_nvml_process_bytes(const struct lam_nvml *nvml);

#endif
