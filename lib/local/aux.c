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
    return lam_fail(LAM_ERR_NOT_FOUND, "there is no auxiliary network '%s'; there are dgl and glcan", name);
}
