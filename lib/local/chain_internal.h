/* Inside lib/local: choosing a cut, shared by chain.c and chain_limits.c. */
#ifndef LAM_LOCAL_CHAIN_INTERNAL_H
#define LAM_LOCAL_CHAIN_INTERNAL_H

#include "local/fit.h"
#include "local/partition_runs.h"

/* What choosing a cut works on. */
struct chooser {
    const struct lam_chain_options *options;
    struct lam_partition_problem problem;
    double *unit, *aux; /* seconds, or FLOPs, on the first device */
    double *speed;      /* [devices] of the first device's */
    bool seconds;
    char **names;
    size_t *limits;
    bool *may_cut;       /* a block of nothing but the head would have nothing to learn */
    struct lam_fit *fit; /* NULL: memory was not asked for yet */
    bool known;          /* the cut comes from the record */
    bool again;          /* that of the record did not fit */
    int tries;
};

/* Whether a cut stays within the limits of its devices, by the forecast; so does every cut of an end-to-end pipeline, whose
 * memory is not a sum over blocks. */
lam_status lam_chain_cut_fits(struct chooser *c, const struct lam_partition *cut, bool *fits);

/* The fastest cut within the limits, into problem.blocks blocks or as many as are best. LAM_ERR_MEMORY_LIMIT with what would do;
 * then chain->too_large and chain->least are set. */
lam_status lam_chain_cut_in_limits(struct chooser *c, struct lam_chain *chain);

/* After creating blocks, whose kernels may have been measured: whether each device's are within its limit; less is left for the
 * next search by what was too much; and the error where there is no other cut, end to end. */
bool lam_chain_is_within(const struct chooser *c, const struct lam_chain *chain);
void lam_chain_tighten(struct chooser *c, const struct lam_chain *chain);
lam_status lam_chain_cannot_fit(const struct chooser *c, struct lam_chain *chain);

/* Writes chain->why. */
lam_status lam_chain_explain(struct chooser *c, struct lam_chain *chain);

#endif
