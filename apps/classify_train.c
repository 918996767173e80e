#include "tasks/classify/classify.h"
#include "train/run.h"

int main(int argc, char **argv) {
    return lam_train_program(&lam_task_classify, argc, argv, stdout, stderr);
}
