/* Where measured choices are kept: a cache per machine and plan, and the run's config.ini.
 *
 * What a saved config says wins over the cache, and what neither has is measured; so a resumed or rerun
 * training uses the choices of the first run, and a second run on the same machine measures nothing.
 */
#ifndef LAM_TRAIN_TUNING_RECORD_H
#define LAM_TRAIN_TUNING_RECORD_H

#include "graph/program.h"

/* The record to compile with. plan: names all that choices depend on beside the device (model, batch,
 * precision). recorded: from a saved config, NULL = none. use_cache = false leaves the cache out. */
lam_status lam_tuning_record_open(enum lam_tuning_mode mode, const struct lam_device *device,
                                  const char *plan, const struct lam_tuning *recorded, bool use_cache,
                                  struct lam_tuning **tuning);
/* Writes the cache; a cache that cannot be written is not a failure. */
void lam_tuning_record_keep(const struct lam_tuning *tuning, const struct lam_device *device,
                            const char *plan);

/* A saved config's [tuning] section; malloc'd, "" when nothing was measured. */
lam_status lam_tuning_record_ini(const struct lam_tuning *tuning, char **text);
/* lam_options.tuning: adds "key = choice" to the lam_tuning that is the context. */
lam_status lam_tuning_record_line(void *tuning, const char *line);

#endif
