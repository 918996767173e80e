/* The subcommands of lamina-bench, and what they share. A further one is a file with its own option table, and a line
 * in the list in lamina_bench.c. */
#ifndef LAMINA_BENCH_COMMANDS_H
#define LAMINA_BENCH_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/options.h"

/* argv[0] is the subcommand's name. */
lam_status bench_step(int argc, char **argv);
lam_status bench_pipeline(int argc, char **argv);
lam_status bench_simulate(int argc, char **argv);
lam_status bench_paper(int argc, char **argv);

/* Sets the defaults and takes the command line; prints the help where *help (an option's value) says so. */
lam_status bench_options(struct lam_options *options, int argc, char **argv, const bool *help);

/* Writes the numbers to `path`, "" = nowhere; takes `list`, NULL = out of memory. */
lam_status bench_write_json(const char *path, json_t *list);

#endif
