/* vit-tiny against PyTorch: see parity.h. */
#include "parity.h"

int main(int argc, char **argv) {
    return parity_main("tests/golden/vit-tiny.json", argc, argv);
}
