#include "tasks/classify/classify.h"
#include "train/commands.h"

int main(int argc, char **argv) {
    static const struct lam_task *const tasks[] = {&lam_task_classify, NULL};
    return lam_commands_program(tasks, argc, argv, stdout, stderr);
}
