/* What units and auxiliary networks cost: measured, for the partitioner.
 *
 * Each unit is run on the first device as the second of a block of two, so that the gradient of its input is counted and its
 * operands come from where they would; the block's auxiliary network gives the time of one behind that unit. Units that are
 * built alike from inputs of one shape are measured once. Only a block of two units is in memory at a time.
 */
#ifndef LAM_LOCAL_PROFILE_H
#define LAM_LOCAL_PROFILE_H

#include "local/chain.h"

/* unit, aux: [units], seconds of a full batch (forward, backward and update). aux of the last unit is 0. */
lam_status lam_profile_units(const struct lam_chain_options *options, double *unit, double *aux);

/* The same in FLOPs, without running anything. */
lam_status lam_profile_flops(const struct lam_chain_options *options, double *unit, double *aux);

/* Seconds of a step of each block as it is, alone on its device: the least of a few runs on made-up data. Blocks must not be
 * allocated yet. */
lam_status lam_profile_blocks(struct lam_block *const *blocks, int count, double *seconds);

#endif
