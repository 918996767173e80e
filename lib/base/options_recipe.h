/* Recipes on the inside of options: reading INI text by inih, and writing values that read back the same. */
#ifndef LAM_BASE_OPTIONS_RECIPE_H
#define LAM_BASE_OPTIONS_RECIPE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/options.h"

/* Row `index` over all tables, NULL past the end; *value (may be NULL): where its value is. */
const struct lam_option *lam_options_row(const struct lam_options *options, int index, void **value);
/* Adds to the end of a text option. */
lam_status lam_options_append(struct lam_options *options, const char *name, const char *more);

/* Whether a text survives writing and reading: no line break, no comment mark, no blank at an end. */
bool lam_recipe_can_hold(const char *text);
/* "name = text", continued by "name+ = rest" lines where it is longer than inih's lines can be. */
void lam_recipe_write(FILE *to, const char *name, const char *text);

#endif
