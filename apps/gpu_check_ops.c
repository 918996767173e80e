/* Every op against its naive reference: the conformance suite of the tests, on one small case of each op and on the shapes of
 * real networks. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "apps/gpu_check.h"
#include "apps/gpu_check_shapes.h"
#include "base/files.h"
#include "device/device.h"
#include "tests/conformance/one_of_each.h"
#include "tests/conformance/op_text.h"
#include "tests/conformance/suite.h"

enum { MOST_CASES = 512, CASE_SECONDS = 300, MOST_DEVICES = 3 };

struct cases {
    char *text[MOST_CASES];
    int count;
};

/* Shared with the process that runs the cases. */
struct progress {
    int next;     /* case to be run */
    bool running; /* it has begun */
    bool wrong[MOST_CASES];
};

struct task {
    const struct cases *cases;
    struct progress *progress;
};

/* ---- cases ---- */

static lam_status add(struct cases *cases, char *line) {
    if (!line) return lam_no_memory();
    if (cases->count == MOST_CASES) {
        free(line);
        return lam_fail(LAM_ERR_INTERNAL, "more than %d cases", (int)MOST_CASES);
    }
    cases->text[cases->count++] = line;
    return LAM_OK;
}

/* In f32, and in bf16 if it takes that. */
static lam_status add_both(struct cases *cases, const char *line) {
    struct op_case parsed;
    LAM_TRY(op_from_text(line, &parsed));
    LAM_TRY(add(cases, strdup(line)));
    if (parsed.op.kind == LAM_OP_CAST) return LAM_OK; /* it names its types */
    return add(cases, lam_format("%s dtype=bf16", line));
}

static lam_status add_all(bool quick, struct cases *cases) {
    for (int kind = 0; kind < LAM_OP_COUNT; kind++) LAM_TRY(add_both(cases, one_of_each[kind]));
    for (int i = 0; gpu_check_shapes[i] && !quick; i++) LAM_TRY(add_both(cases, gpu_check_shapes[i]));
    return LAM_OK;
}

/* ---- running them ---- */

/* A fault of a kernel leaves nothing of the GPU to the process. */
static bool usable(struct lam_device *const *devices, int count) {
    for (int d = 0; d < count; d++) {
        void *memory;
        if (lam_device_alloc(devices[d], LAM_MEMORY_DATA, 4096, &memory) != LAM_OK) return false;
        lam_device_free(devices[d], memory);
    }
    return true;
}

static void run_cases(const struct task *task, struct suite *suite, struct lam_device *const *devices,
                      int device_count) {
    struct progress *p = task->progress;
    while (p->next < task->cases->count) {
        const char *text = task->cases->text[p->next];
        alarm(CASE_SECONDS);
        p->running = true;
        bool wrong = p->wrong[p->next] = suite_run(suite, &text, 1) > 0;
        p->running = false;
        p->next++;
        if (wrong && !usable(devices, device_count)) return;
    }
}

static lam_status run_some(struct gpu_check *check, const void *context, json_t *result) {
    (void)result;
    struct lam_device *devices[MOST_DEVICES] = {NULL};
    struct lam_backend_device *handles[MOST_DEVICES];
    struct suite *suite = NULL;
    int count = 0;
    lam_status status = LAM_OK;
    while (count < MOST_DEVICES && count < check->device_count && status == LAM_OK) {
        status = lam_device_open(check->devices[count], 0, &devices[count]);
        if (status == LAM_OK) handles[count] = lam_device_handle(devices[count]), count++;
    }
    if (status == LAM_OK) status = suite_create(lam_device_backend(devices[0]), handles, count, &suite);
    if (status == LAM_OK) {
        suite_report_to(suite, check->out);
        run_cases(context, suite, devices, count);
    }
    suite_destroy(suite);
    for (int d = 0; d < count; d++) lam_device_close(devices[d]);
    return status;
}

/* In as many processes as it takes. */
static void run_all(struct gpu_check *check, const struct task *task) {
    struct progress *p = task->progress;
    while (p->next < task->cases->count) {
        json_t *nothing = json_object();
        lam_status status = gpu_check_apart(check, run_some, task, nothing);
        json_decref(nothing);
        if (status == LAM_OK) continue;
        if (!p->running) {
            gpu_check_passed(check, "running ops", status);
            return;
        }
        fprintf(check->out, "%s\n    %s\n", task->cases->text[p->next], lam_error_text());
        p->wrong[p->next++] = true;
        p->running = false;
    }
}

static void judge(struct gpu_check *check, const struct task *task, json_t *result) {
    int wrong = 0;
    for (int i = 0; i < task->progress->next; i++) {
        if (!task->progress->wrong[i]) continue;
        gpu_check_failed(check, "%s", task->cases->text[i]);
        wrong++;
    }
    fprintf(check->out, "  %d cases, each in several slices, layouts and choices: %d right, %d wrong\n",
            task->progress->next, task->progress->next - wrong, wrong);
    json_object_set_new(result, "cases", json_integer(task->progress->next));
    json_object_set_new(result, "wrong", json_integer(wrong));
}

void gpu_check_ops(struct gpu_check *check, json_t *result) {
    struct cases cases = {.count = 0};
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED) {
        gpu_check_failed(check, "out of memory");
    } else if (gpu_check_passed(check, "cases", add_all(check->quick, &cases))) {
        struct task task = {&cases, progress};
        run_all(check, &task);
        judge(check, &task, result);
    }
    if (progress != MAP_FAILED) munmap(progress, sizeof *progress);
    for (int i = 0; i < cases.count; i++) free(cases.text[i]);
}
