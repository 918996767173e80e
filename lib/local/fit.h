/* Cutting a network so that it fits: what every block would take, asked only of the blocks that matter, and the search over
 * that (partition_memory.h).
 *
 *     LAM_TRY(lam_fit_create(&options, &problem, &fit));                    // 1. compiles the smallest blocks
 *     LAM_TRY(lam_fit_search(fit, 0, limits, &cut, &found));                // 2. the fastest cut within the limits, or
 *     if (!found) LAM_TRY(lam_fit_smallest(fit, 0, &bytes, &cut));          //    the least budget that there is a cut for
 *     LAM_TRY(lam_fit_memory(fit, &cut, 0, &need));                         // 3. of the first device, by kind
 *     lam_fit_destroy(fit);
 *
 * What a block takes is known once it is compiled, and nothing need be allocated for that; but a deep network has thousands of
 * possible blocks. So the search works on bounds: a cut is sought as if every block that was not compiled took the least that it
 * can; the blocks of that cut are compiled; and so on, until a cut is found whose blocks were all compiled. Where nothing fits
 * even by the bounds, nothing fits. Blocks of alike units are compiled once. Kernels are chosen by rules of shape.
 *
 * The bounds. One unit more at a block's beginning adds what it adds to a block of one unit: of parameters all, of activations
 * half at least (what is kept of a long run of units is thinned out); the workspace, which may shrink as well, counts nothing. They
 * decide which blocks are looked at, never whether a cut fits.
 */
#ifndef LAM_LOCAL_FIT_H
#define LAM_LOCAL_FIT_H

#include "local/chain.h"
#include "local/partition_memory.h"

struct lam_fit;

/* options, and what problem points to, must outlive it; options->aux must be there. problem->blocks is not read. */
lam_status lam_fit_create(const struct lam_chain_options *options,
                          const struct lam_partition_problem *problem, struct lam_fit **fit);
void lam_fit_destroy(struct lam_fit *fit); /* NULL is allowed */

/* lam_partition_in_memory over the network's blocks; blocks 0: as many as are best. limits: [devices] bytes, 0 = none. */
lam_status lam_fit_search(struct lam_fit *fit, int blocks, const size_t *limits,
                          struct lam_partition *partition, bool *found);

/* The least limit, the same for all devices, that lam_fit_search finds a partition for, and that partition. */
lam_status lam_fit_smallest(struct lam_fit *fit, int blocks, size_t *bytes, struct lam_partition *partition);

/* What a device needs in a partition, by kind; all that a run allocates. */
lam_status lam_fit_memory(struct lam_fit *fit, const struct lam_partition *partition, int device,
                          struct lam_block_memory *memory);
size_t lam_fit_total(const struct lam_block_memory *memory);

int lam_fit_compiled(const struct lam_fit *fit);   /* blocks so far */
double lam_fit_seconds(const struct lam_fit *fit); /* that creating and searching took */

#endif
