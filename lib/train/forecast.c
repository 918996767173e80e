/* The forecast: sums of what plans say. */
#include "train/forecast.h"

#include "base/files.h"

size_t lam_forecast_loader(const struct lam_field *fields, int count, int batch, int prefetch) {
    size_t sample = 0;
    for (int f = 0; f < count; f++)
        sample += (size_t)lam_shape_count(fields[f].shape) * lam_dtype_bytes(fields[f].dtype);
    return sample * (size_t)batch * (size_t)prefetch;
}

struct lam_forecast lam_forecast_block(const struct lam_block *block, size_t data_bytes, size_t limit) {
    struct lam_block_memory memory = lam_block_memory(block);
    struct lam_forecast forecast = {.device = lam_block_device(block), .limit = limit};
    for (int kind = 0; kind < LAM_MEMORY_KINDS; kind++) {
        forecast.bytes[kind] = memory.bytes[kind] + (kind == LAM_MEMORY_DATA ? data_bytes : 0);
        forecast.total += forecast.bytes[kind];
    }
    return forecast;
}

lam_status lam_forecast_check(const struct lam_forecast *forecast) {
    char need[32], limit[32];
    if (forecast->limit == 0 || forecast->total <= forecast->limit) return LAM_OK;
    return lam_fail(
        LAM_ERR_MEMORY_LIMIT,
        "%s: the run needs %s (%zu bytes), the limit is %s (%zu); use a smaller --batch, or raise "
        "--memory-limit",
        lam_device_name(forecast->device), lam_bytes_text(forecast->total, need, sizeof need),
        forecast->total, lam_bytes_text(forecast->limit, limit, sizeof limit), forecast->limit);
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
    if (forecast->limit)
        fprintf(file, "  %-12s %12zu  %9s\n", "limit", forecast->limit,
                lam_bytes_text(forecast->limit, text, sizeof text));
}
