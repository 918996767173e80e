#include "tasks/classify/classify.h"
#include "tasks/detect/detect.h"
#include "tasks/sr/sr.h"
#include "train/commands.h"

int main(int argc, char **argv) {
    static const struct lam_task *const tasks[] = {&lam_task_classify, &lam_task_detect, &lam_task_sr, NULL};
    return lam_commands_program(tasks, argc, argv, stdout, stderr);
}
