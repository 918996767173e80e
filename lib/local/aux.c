/* The list of auxiliary networks. */
#include "local/aux.h"

#include <string.h>

extern const struct lam_aux lam_aux_dgl, lam_aux_glcan;

const struct lam_aux *const lam_aux_kinds[] = {&lam_aux_dgl, &lam_aux_glcan, NULL};

lam_status lam_aux_find(const char *name, const struct lam_aux **aux) {
    for (int i = 0; lam_aux_kinds[i]; i++)
        if (!strcmp(lam_aux_kinds[i]->name, name)) {
            *aux = lam_aux_kinds[i];
            return LAM_OK;
        }
    return lam_fail(LAM_ERR_NOT_FOUND, "there is no auxiliary network '%s'; lamina options lists them", name);
}

const struct lam_field *lam_network_input(const struct lam_network *network, bool training) {
    return training || network->eval_field_count == 0 ? &network->fields[0] : &network->eval_fields[0];
}

int lam_network_eval_batch(const struct lam_network *network, int batch) {
    return network->eval_batch ? network->eval_batch : batch;
}

void lam_taps_turn(const struct lam_network *network, int unit, lam_value x, lam_value *taps) {
    for (int t = 0; t < network->tap_count; t++) {
        if (network->taps[t].to == unit) taps[t] = LAM_NO_VALUE;
        if (network->taps[t].from == unit) taps[t] = x;
    }
}

bool lam_unit_reads_taps(const struct lam_network *network, int unit) {
    for (int t = 0; t < network->tap_count; t++)
        if (network->taps[t].to == unit) return true;
    return false;
}
