/* resnet32 against PyTorch: see parity.h. */
#include "parity.h"

int main(int argc, char **argv) {
    return parity_main("tests/golden/resnet32.json", argc, argv);
}
