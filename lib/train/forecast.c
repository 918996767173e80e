/* The forecast: sums of what plans say. */
#include "train/forecast.h"

#include "base/files.h"

size_t lam_forecast_loader(const struct lam_field *fields, int count, int batch, int prefetch) {
    size_t sample = 0;
    for (int f = 0; f < count; f++)
        sample += (size_t)lam_shape_count(fields[f].shape) * lam_dtype_bytes(fields[f].dtype);
    return sample * (size_t)batch * (size_t)prefetch;
}

struct lam_forecast lam_forecast_of(const struct lam_device *device, const struct lam_block_memory *memory,
                                    size_t data_bytes) {
    struct lam_forecast forecast = {
        .device = device, .limit = lam_device_limit(device), .machine = lam_device_total_memory(device)};
    forecast.free_known = lam_device_free_memory(device, &forecast.free);
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++) {
        forecast.bytes[kind] = memory->bytes[kind] + (kind == LAM_MEMORY_DATA ? data_bytes : 0);
        forecast.total += forecast.bytes[kind];
    }
    return forecast;
}

struct lam_forecast lam_forecast_device(const struct lam_pipeline *pipeline, int device, size_t data_bytes) {
    struct lam_block_memory memory = lam_pipeline_memory(pipeline, device);
    return lam_forecast_of(lam_pipeline_stage(pipeline, device)->device, &memory,
                           device > 0 ? 0 : data_bytes);
}

static lam_status check_limit(const struct lam_forecast *forecast) {
    char need[32], limit[32];
    if (forecast->limit == 0 || forecast->total <= forecast->limit) return LAM_OK;
    return lam_fail(
        LAM_ERR_MEMORY_LIMIT,
        "%s: the run needs %s (%zu bytes), the limit is %s (%zu); use a smaller --batch, or raise "
        "--memory-limit",
        lam_device_name(forecast->device), lam_bytes_text(forecast->total, need, sizeof need),
        forecast->total, lam_bytes_text(forecast->limit, limit, sizeof limit), forecast->limit);
}

static bool share_memory(const struct lam_forecast *a, const struct lam_forecast *b) {
    const struct lam_backend *backend = lam_device_backend(a->device);
    return a == b || (backend->host_visible && backend == lam_device_backend(b->device));
}

static lam_status check_machine(const struct lam_forecast *forecasts, int count,
                                const struct lam_forecast *forecast) {
    char need[32], has[32];
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        if (share_memory(forecast, &forecasts[i])) total += forecasts[i].total;
    if (forecast->machine == 0 || total <= forecast->machine) return LAM_OK;
    return lam_fail(LAM_ERR_MEMORY_LIMIT,
                    "%s: the run needs %s (%llu bytes), the machine has %s (%llu); use a smaller --batch",
                    lam_device_name(forecast->device), lam_bytes_text(total, need, sizeof need),
                    (unsigned long long)total, lam_bytes_text(forecast->machine, has, sizeof has),
                    (unsigned long long)forecast->machine);
}

/* Other programs may hold a part of a GPU. */
static lam_status check_free(const struct lam_forecast *forecast) {
    char need[32], rest[32], has[32];
    if (!forecast->free_known || forecast->total <= forecast->free) return LAM_OK;
    return lam_fail(LAM_ERR_MEMORY_LIMIT,
                    "%s: %s (%zu bytes) are needed, %s (%llu) of its %s are free; use a smaller --batch or "
                    "another device, or end what else runs there",
                    lam_device_name(forecast->device), lam_bytes_text(forecast->total, need, sizeof need),
                    forecast->total, lam_bytes_text(forecast->free, rest, sizeof rest),
                    (unsigned long long)forecast->free, lam_bytes_text(forecast->machine, has, sizeof has));
}

lam_status lam_forecast_check(const struct lam_forecast *forecasts, int count) {
    for (int i = 0; i < count; i++) {
        LAM_TRY(check_limit(&forecasts[i]));
        LAM_TRY(check_machine(forecasts, count, &forecasts[i]));
        LAM_TRY(check_free(&forecasts[i]));
    }
    return LAM_OK;
}

void lam_forecast_print(const struct lam_forecast *forecast, FILE *file) {
    char text[32];
    fprintf(file, "memory forecast, peak bytes on %s (%s):\n", lam_device_name(forecast->device),
            lam_device_describe(forecast->device));
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++)
        if (forecast->bytes[kind])
            fprintf(file, "  %-12s %12zu  %9s\n", lam_memory_kind_name((enum lam_memory_kind)kind),
                    forecast->bytes[kind], lam_bytes_text(forecast->bytes[kind], text, sizeof text));
    fprintf(file, "  %-12s %12zu  %9s\n", "total", forecast->total,
            lam_bytes_text(forecast->total, text, sizeof text));
    uint64_t most = forecast->limit ? forecast->limit : forecast->machine;
    fprintf(file, "  %-12s %12llu  %9s\n", forecast->limit ? "limit" : "machine", (unsigned long long)most,
            lam_bytes_text(most, text, sizeof text));
    if (forecast->free_known)
        fprintf(file, "  %-12s %12llu  %9s\n", "free now", (unsigned long long)forecast->free,
                lam_bytes_text(forecast->free, text, sizeof text));
}
