/* The `lamina` program: what can be done with data, plans, runs and checkpoints besides training.
 *
 *     return lam_commands_program(tasks, further, argc, argv, stdout, stderr);
 *
 * Each command is a function in a file of its own (command_NAME.c) and a line in the table in commands.c; a program may
 * have further ones.
 */
#ifndef LAM_TRAIN_COMMANDS_H
#define LAM_TRAIN_COMMANDS_H

#include "train/task.h"

struct lam_command {
    const char *name, *usage, *help; /* "eval", "CHECKPOINT [options]", one line */
    lam_status (*run)(const struct lam_command *command, const struct lam_task *const *tasks, int argc,
                      char **argv, FILE *out, FILE *err);
};

/* tasks: NULL-terminated. further: commands beside those of the library, the last one without a name; NULL: none. Returns the
 * exit status. */
int lam_commands_program(const struct lam_task *const *tasks, const struct lam_command *further, int argc,
                         char **argv, FILE *out, FILE *err);

/* ---- for commands ---- */

#define LAM_COMMAND(name)                                                                                    \
    lam_status lam_command_##name(const struct lam_command *command, const struct lam_task *const *tasks,    \
                                  int argc, char **argv, FILE *out, FILE *err)
LAM_COMMAND(plan);
LAM_COMMAND(eval);
LAM_COMMAND(predict);
LAM_COMMAND(info);
LAM_COMMAND(check);
LAM_COMMAND(export);
LAM_COMMAND(options);

/* The options that most of them share. */
struct lam_command_options {
    char *data, *devices, *memory_limit, *json, *out;
    int weights; /* 0 average, 1 raw */
    int64_t threads, loader_threads, batch;
    bool skip_bad, help;
    char **task_words; /* what lam_command_parse_with set aside: a command line of the task's options */
    int task_word_count;
};
/* Parses argv into them and words; *done: --help was asked for and answered. */
lam_status lam_command_parse(const struct lam_command *command, int argc, char **argv,
                             struct lam_command_options *options, const char **words, int capacity,
                             int *word_count, FILE *out, bool *done);
/* The same, where options of tasks with LAM_OPTION_USE may stand among them; they go to task_words. */
lam_status lam_command_parse_with(const struct lam_task *const *tasks, const struct lam_command *command,
                                  int argc, char **argv, struct lam_command_options *options,
                                  const char **words, int capacity, int *word_count, FILE *out, bool *done);
void lam_command_options_free(struct lam_command_options *options);

/* Writes `json` to `path` ("-": `out`); frees it. */
lam_status lam_command_write_json(const char *path, json_t *json, FILE *out);

#endif
