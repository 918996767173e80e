/* Work in a process of its own. The parent never touches a GPU: a process that has done so cannot be forked. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps/gpu_check.h"

static void run_and_tell(struct gpu_check *check, gpu_check_work work, const void *context, int to) {
    json_t *result = json_object();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left on the GPU when the command is stopped */
    alarm(GPU_CHECK_SECONDS);
    json_array_clear(check->failed);
    lam_status status = work(check, context, result);
    FILE *file = fdopen(to, "w");
    json_t *outcome =
        json_pack("{s:i, s:s, s:O, s:o}", "status", (int)status, "error",
                  status == LAM_OK ? "" : lam_error_text(), "failed", check->failed, "result", result);
    if (file && outcome && json_dumpf(outcome, file, JSON_COMPACT) == 0) fclose(file);
    fflush(NULL);
    _exit(0);
}

static lam_status take_outcome(struct gpu_check *check, json_t *outcome, int ended, json_t *result) {
    if (WIFSIGNALED(ended) && WTERMSIG(ended) == SIGALRM)
        return lam_fail(LAM_ERR_DEVICE, "takes too long: it seems to hang");
    if (WIFSIGNALED(ended))
        return lam_fail(LAM_ERR_DEVICE, "ended by signal %d (%s)", WTERMSIG(ended),
                        strsignal(WTERMSIG(ended)));
    int status;
    const char *error;
    json_t *failed, *sent;
    if (json_unpack(outcome, "{s:i, s:s, s:o, s:o}", "status", &status, "error", &error, "failed", &failed,
                    "result", &sent))
        return lam_fail(LAM_ERR_DEVICE, "ended with exit status %d before it was done", WEXITSTATUS(ended));
    json_array_extend(check->failed, failed);
    json_object_update(result, sent);
    return status == LAM_OK ? LAM_OK : lam_fail((lam_status)status, "%s", error);
}

lam_status gpu_check_apart(struct gpu_check *check, gpu_check_work work, const void *context,
                           json_t *result) {
    int ends[2], ended = 0;
    if (pipe(ends) != 0) return lam_fail(LAM_ERR_IO, "making a pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_and_tell(check, work, context, ends[1]);
    }
    close(ends[1]);
    FILE *from = child < 0 ? NULL : fdopen(ends[0], "r");
    json_t *outcome =
        from ? json_loadf(from, 0, NULL) : NULL; /* at its end, or where there is nothing to come */
    if (from)
        fclose(from);
    else
        close(ends[0]);
    if (child < 0) return lam_fail(LAM_ERR_IO, "starting a process: %s", strerror(errno));
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
    }
    lam_status status = take_outcome(check, outcome, ended, result);
    json_decref(outcome);
    return status;
}
