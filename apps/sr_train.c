#include "tasks/sr/sr.h"
#include "train/run.h"

int main(int argc, char **argv) {
    return lam_train_program(&lam_task_sr, argc, argv, stdout, stderr);
}
