#include "apps/gpu_check.h"
#include "tasks/classify/classify.h"
#include "tasks/detect/detect.h"
#include "tasks/sr/sr.h"

int main(int argc, char **argv) {
    static const struct lam_task *const tasks[] = {&lam_task_classify, &lam_task_detect, &lam_task_sr, NULL};
    static const struct lam_command further[] = {
        {"gpu-check", "[options]",
         "whether all works on this machine's GPUs, and how fast: one report to send", lam_command_gpu_check},
        {NULL, NULL, NULL, NULL}};
    return lam_commands_program(tasks, further, argc, argv, stdout, stderr);
}
