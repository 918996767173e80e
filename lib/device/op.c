#include "device/op.h"

static const struct {
    const char *name;
    bool cheap;
} ops[] = {
#define LAM_OP_ROW(suffix, name, cheap) {name, cheap},
    LAM_OP_TABLE(LAM_OP_ROW)
#undef LAM_OP_ROW
};

const char *lam_op_name(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT ? ops[kind].name : "?";
}

bool lam_op_is_cheap(enum lam_op_kind kind) {
    return (unsigned)kind < LAM_OP_COUNT && ops[kind].cheap;
}
