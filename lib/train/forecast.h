/* What a run will need on its device, before anything is allocated; and whether that fits. */
#ifndef LAM_TRAIN_FORECAST_H
#define LAM_TRAIN_FORECAST_H

#include <stdio.h>

#include "pipeline/pipeline.h"

struct lam_forecast {
    const struct lam_device *device;
    size_t bytes[LAM_MEMORY_KINDS], total, limit; /* limit 0: none was given */
    uint64_t machine;                             /* what the hardware has */
    bool free_known;
    uint64_t free; /* what of it is left now, all programs counted */
};

/* data_bytes: of the loader's batches (lam_forecast_loader), on the first device. */
struct lam_forecast lam_forecast_device(const struct lam_pipeline *pipeline, int device, size_t data_bytes);
struct lam_forecast lam_forecast_of(const struct lam_device *device, const struct lam_block_memory *memory,
                                    size_t data_bytes);
size_t lam_forecast_loader(const struct lam_field *fields, int count, int batch, int prefetch);

/* Whether the devices of a run hold it, which has not been allocated yet: each its limit and what is free there, and all that share
 * one memory (the CPU devices) what the machine has. LAM_ERR_MEMORY_LIMIT with the numbers. */
lam_status lam_forecast_check(const struct lam_forecast *forecasts, int count);
/* A table for people. */
void lam_forecast_print(const struct lam_forecast *forecast, FILE *file);

#endif
