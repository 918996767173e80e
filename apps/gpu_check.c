/* The command: options, the list of parts, and the report. */
#include "apps/gpu_check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "base/log.h"
#include "base/options.h"

struct config {
    char *devices, *out;
    bool quick, help;
};

#define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
static const struct lam_option table[] = {
    ROW("devices", TEXT, devices, "", "Options", .placeholder = "NAMES",
        .help = "GPUs to check, such as cuda:0,cuda:2; else all"),
    ROW("out", TEXT, out, "gpu-check", "Options", .placeholder = "FOLDER",
        .help = "where report.txt and report.json go"),
    ROW("quick", BOOL, quick, "no", "Options", .help = "small sizes: whether it works, not how fast it is"),
    ROW("help", BOOL, help, "no", "Options", .help = "print this text"),
};

static const struct part {
    const char *name, *title;
    void (*run)(struct gpu_check *check, json_t *result);
} parts[] = {
    {"machine", "what is here", gpu_check_machine},
    {"ops", "every op against a plain computation", gpu_check_ops},
    {"rates", "copies, matrices and memory", gpu_check_rates},
    {"steps", "training steps against the floor that the rates set", gpu_check_steps},
    {"exactness", "pipelines against plain local learning, and against the CPU", gpu_check_exactness},
    {"pipelines", "what several GPUs gain", gpu_check_pipelines},
};
enum { PARTS = sizeof parts / sizeof *parts };

/* ---- the report ---- */

struct report {
    FILE *to, *text; /* people's, and report.txt */
    char *json_path;
    json_t *json;
};

/* A stream that writes to both, line by line, so that what was found is there even if the end is not reached. */
static ssize_t write_both(void *cookie, const char *bytes, size_t size) {
    struct report *r = cookie;
    fwrite(bytes, 1, size, r->to);
    fflush(r->to);
    fwrite(bytes, 1, size, r->text);
    fflush(r->text);
    return (ssize_t)size;
}

static lam_status open_report(struct report *r, const char *folder, FILE *to, FILE **out) {
    LAM_TRY(lam_make_folders(folder));
    char *path = lam_path_join(folder, "report.txt");
    r->to = to;
    r->json_path = lam_path_join(folder, "report.json");
    r->text = path ? fopen(path, "w") : NULL;
    free(path);
    if (!r->json_path) return lam_no_memory();
    if (!r->text) return lam_fail(LAM_ERR_IO, "%s: report.txt cannot be written", folder);
    *out = fopencookie(r, "w", (cookie_io_functions_t){.write = write_both});
    if (!*out) return lam_no_memory();
    setvbuf(*out, NULL, _IOLBF, 0);
    return LAM_OK;
}

/* After each part, for the same reason. */
static lam_status write_json(const struct report *r) {
    return lam_command_write_json(r->json_path, json_incref(r->json), r->to);
}

static void close_report(struct report *r, FILE *out) {
    if (out) fclose(out);
    if (r->text) fclose(r->text);
    json_decref(r->json);
    free(r->json_path);
}

static void print_note(void *out, enum lam_log_level level, const char *text) {
    fprintf(out, "  %s: %s\n", level == LAM_LOG_WARNING ? "warning" : "note", text);
}

/* ---- parts ---- */

void gpu_check_failed(struct gpu_check *check, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(check->out, "  FAILED: %s\n", text);
    json_array_append_new(check->failed, json_string(text));
}

bool gpu_check_passed(struct gpu_check *check, const char *what, lam_status status) {
    if (status != LAM_OK) gpu_check_failed(check, "%s: %s", what, lam_error_text());
    return status == LAM_OK;
}

static bool run_part(struct gpu_check *check, const struct part *part) {
    json_t *result = json_object();
    fprintf(check->out, "\n%s: %s\n", part->name, part->title);
    check->failed = json_array();
    double start = lam_seconds();
    part->run(check, result);
    double seconds = lam_seconds() - start;
    size_t failures = json_array_size(check->failed);
    if (failures)
        fprintf(check->out, "%s: FAILED in %zu place%s, %.1f s\n", part->name, failures,
                failures > 1 ? "s" : "", seconds);
    else
        fprintf(check->out, "%s: OK, %.1f s\n", part->name, seconds);
    json_object_set_new(check->parts, part->name,
                        json_pack("{s:b, s:f, s:o, s:o}", "ok", failures == 0, "seconds", seconds, "failed",
                                  check->failed, "result", result));
    check->failed = NULL;
    return failures == 0;
}

static lam_status run_parts(struct gpu_check *check, struct report *report) {
    int failed = 0;
    for (int i = 0; i < PARTS; i++) {
        failed += !run_part(check, &parts[i]);
        json_object_set_new(report->json, "complete", json_boolean(i + 1 == PARTS));
        json_object_set_new(report->json, "passed", json_boolean(failed == 0));
        LAM_TRY(write_json(report));
    }
    if (failed == 0) {
        fprintf(check->out, "\nAll passed.\n");
        return LAM_OK;
    }
    fprintf(check->out, "\n%d of %d parts failed.\n", failed, (int)PARTS);
    return lam_fail(LAM_ERR_DEVICE, "%d of %d parts failed; %s says more", failed, (int)PARTS,
                    report->json_path);
}

static void begin_report(struct gpu_check *check, struct report *report) {
    char when[64];
    time_t now = time(NULL);
    struct tm parts_of;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &parts_of));
    fprintf(check->out, "lamina %s gpu-check%s, %s\n", LAMINA_VERSION, check->quick ? " --quick" : "", when);
    report->json = json_pack("{s:s, s:s, s:b, s:O}", "version", LAMINA_VERSION, "time", when, "quick",
                             check->quick, "parts", check->parts);
}

/* ---- the command ---- */

static lam_status check_gpus(struct gpu_check *check, const struct config *config, FILE *out) {
    struct report report = {.to = out};
    lam_status status = open_report(&report, config->out, out, &check->out);
    if (status == LAM_OK) {
        lam_log_set_sink(print_note, check->out);
        begin_report(check, &report);
        status = run_parts(check, &report);
        lam_log_set_sink(NULL, NULL);
    }
    close_report(&report, check->out);
    return status;
}

static lam_status run(const struct config *config, FILE *out) {
    LAM_TRY(lam_check_output_folder(config->out));
    struct gpu_check check = {
        .out = out, .quick = config->quick, .parts = json_object(), .failed = json_array()};
    const char *names[64];
    json_t *found = NULL, *name;
    size_t i;
    lam_status status = gpu_check_find(&check, config->devices, &found);
    json_decref(check.failed);
    json_array_foreach(found, i, name) {
        if (i < sizeof names / sizeof *names) names[check.device_count++] = json_string_value(name);
    }
    check.devices = (char *const *)names;
    if (status == LAM_OK) status = check_gpus(&check, config, out);
    json_decref(found);
    json_decref(check.parts);
    return status;
}

LAM_COMMAND(gpu_check) {
    (void)tasks, (void)err;
    struct config config = {.quick = false};
    struct lam_options options = {.program = "lamina gpu-check",
                                  .usage = command->usage,
                                  .tables = {{table, sizeof table / sizeof *table, &config}},
                                  .table_count = 1};
    char *text = NULL;
    lam_status status = lam_options_defaults(&options);
    if (status == LAM_OK) status = lam_options_parse(&options, argc, argv, NULL, 0, NULL);
    if (status == LAM_OK && config.help) status = lam_options_help(&options, &text);
    if (text) fputs(text, out);
    if (status == LAM_OK && !config.help) status = run(&config, out);
    free(text);
    lam_options_free(&options);
    return status;
}
