/* A small case of every op, by kind, as a line for the suite (op_text.h). NULL: an op that nobody has thought of. */
#ifndef LAM_TESTS_ONE_OF_EACH_H
#define LAM_TESTS_ONE_OF_EACH_H

#include "device/op.h"

extern const char *const one_of_each[LAM_OP_COUNT];

#endif
