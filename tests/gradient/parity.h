/* Lamina against PyTorch on the same weights and batches: the body of the parity_*_test programs.
 *
 *     test_gradient_parity_resnet32                        the tests
 *     test_gradient_parity_resnet32 --dump FILE            writes logits and all gradients there instead
 *     ... [--device cpu:0] [--measure] [--max-slice N]     on that device; with kernels chosen by measurement
 *
 * The dump is for bench/peers/compare_gradients.py: safetensors with "logits" and one tensor a parameter.
 */
#ifndef TESTS_GRADIENT_PARITY_H
#define TESTS_GRADIENT_PARITY_H

int parity_main(const char *golden_path, int argc, char **argv);

#endif
