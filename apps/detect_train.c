#include "tasks/detect/detect.h"
#include "train/run.h"

int main(int argc, char **argv) {
    return lam_train_program(&lam_task_detect, argc, argv, stdout, stderr);
}
