/* summary.json: what a run has come to, for people, scripts, and the next process of a resumed run. */
#include <stdlib.h>

#include "base/files.h"
#include "train/run_internal.h"

double lam_run_images_per_s(const struct run *run) {
    double rate = run->progress ? lam_progress_rate(run->progress) : 0;
    return rate > 0 ? rate : run->past.images_per_s;
}

double lam_run_seconds(const struct run *run) {
    return run->past.seconds + (run->nothing_left ? 0 : lam_seconds() - run->begin);
}

/* Shares of each device's time in training, where there are several devices. */
static json_t *shares_of_devices(const struct run *run) {
    json_t *all = json_object();
    for (int d = 0; d < run->device_count; d++) {
        struct lam_pipeline_times t = lam_run_device(run, d).whole;
        double sum = lam_run_all_times(&t), factor = sum > 0 ? 1 / sum : 0;
        json_object_set_new(all, lam_device_name(run->devices[d]),
                            json_pack("{s:f, s:f, s:f}", "busy", t.busy * factor, "starved",
                                      t.starved * factor, "blocked", t.blocked * factor));
    }
    return all;
}

/* Bytes of each device's pools, of this process and free, where its driver counts them. */
static json_t *memory_of_devices(const struct run *run) {
    json_t *all = json_object();
    for (int d = 0; d < run->device_count; d++) {
        const struct lam_memory_held held = lam_run_device(run, d).memory.held;
        if (held.free_known)
            json_object_set_new(all, lam_device_name(run->devices[d]), lam_memory_held_json(&held));
    }
    return all;
}

lam_status lam_run_summary(const struct run *run, bool finished) {
    if (!run->head) return LAM_OK;
    json_t *scores = json_object(), *peak = json_object();
    for (int i = 0; i < run->at.score_count; i++)
        json_object_set_new(scores, run->at.scores[i].name, json_real(run->at.scores[i].value));
    for (int d = 0; d < run->device_count; d++)
        json_object_set_new(peak, lam_device_name(run->devices[d]),
                            json_integer((json_int_t)lam_run_device(run, d).memory.total.peak));
    json_t *summary = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:f, s:f, s:o, s:I, s:s}", "task", run->task->name, "model",
        run->config->model, "finished", finished, "epoch", (json_int_t)run->at.epoch, "step",
        (json_int_t)run->at.step, "parameters", (json_int_t)lam_run_parameters(run, false), "scores", scores,
        "images_per_s", lam_run_images_per_s(run), "seconds", lam_run_seconds(run), "peak_bytes", peak,
        "forecast_bytes", (json_int_t)lam_run_forecast_bytes(run), "version", LAMINA_VERSION);
    for (int i = 0; summary && i < run->at.score_count; i++)
        json_object_set_new(summary, run->at.scores[i].name, json_real(run->at.scores[i].value));
    if (summary && run->device_count > 1) json_object_set_new(summary, "devices", shares_of_devices(run));
    json_t *memory = memory_of_devices(run);
    if (summary && json_object_size(memory)) json_object_set(summary, "memory", memory);
    json_decref(memory);
    if (summary && run->at.has_best) json_object_set_new(summary, "best", json_real(run->at.best));
    return lam_folder_write_json(&run->folder, "summary.json", summary);
}

struct run_past lam_run_past(const struct run *run) {
    struct run_past past = {0};
    char *path = lam_folder_file(&run->folder, "summary.json");
    json_t *summary = path ? json_load_file(path, 0, NULL) : NULL, *peak;
    const char *device;
    past.finished = json_is_true(json_object_get(summary, "finished"));
    past.step = (uint64_t)json_integer_value(json_object_get(summary, "step"));
    past.seconds = json_number_value(json_object_get(summary, "seconds"));
    past.images_per_s = json_number_value(json_object_get(summary, "images_per_s"));
    json_object_foreach(json_object_get(summary, "peak_bytes"), device, peak) past.peak_bytes +=
        (size_t)json_integer_value(peak);
    json_decref(summary);
    free(path);
    return past;
}
