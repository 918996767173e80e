/* Options: one static table says everything about a group of options, and everything comes from it: parsing,
 * range checks, "did you mean", --help, recipes, the saved config and the reference in docs/.
 *
 *     struct config { int64_t epochs; bool flip; char *data; int precision; };
 *
 *     #define ROW(...) LAM_OPTION_ROW(struct config, __VA_ARGS__)
 *     static const struct lam_option table[] = {                                     // 1. the table
 *         ROW("epochs", INT, epochs, "10", "Training", LAM_RANGE(1, 1e6), .help = "passes over the data"),
 *         ...
 *     };
 *     struct config config = {0};
 *     struct lam_options options = {.program = "classify-train",                     // 2. where values go
 *                                   .tables = {{table, COUNT, &config}}, .table_count = 1};
 *     LAM_TRY(lam_options_defaults(&options));
 *     LAM_TRY(lam_options_parse(&options, argc, argv, NULL, 0, NULL));               // 3. the command line
 *     if (config.help) LAM_TRY(lam_options_help(&options, &text));
 *     LAM_TRY(lam_options_ini(&options, 0, &text));                                  // 4. saved with the run
 *     lam_options_free(&options);
 *
 * On the command line: --name value, --name=value; for a yes-or-no option --name, --no-name, --name yes. A
 * recipe is an INI file of `name = value` lines; its [sections] are headings only. Options are taken in the
 * order in which they stand, so a later one wins, and a recipe counts at the place where it is named.
 */
#ifndef LAM_BASE_OPTIONS_H
#define LAM_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum lam_option_type {
    LAM_OPTION_BOOL,   /* bool */
    LAM_OPTION_INT,    /* int64_t; min, max */
    LAM_OPTION_NUMBER, /* double; min, max */
    LAM_OPTION_CHOICE, /* int, index into choices */
    LAM_OPTION_TEXT,   /* char *, owned, never NULL */
};

enum {
    LAM_OPTION_UNSAVED = 1,   /* says what to do now (--help, --resume), not what the run is: not in the saved
                                 config */
    LAM_OPTION_RESUMABLE = 2, /* may differ from the saved config when a run is resumed */
    LAM_OPTION_RECIPE = 4,    /* TEXT: the name of a recipe to read here */
    LAM_OPTION_MACHINE = 8,   /* has no influence on what comes out, only on how fast */
    LAM_OPTION_USE = 16, /* of a task: may be other when the trained network is used (lamina eval, predict) */
};

struct lam_option {
    const char *name; /* without dashes */
    enum lam_option_type type;
    size_t offset;              /* of the value in the struct */
    const char *fallback;       /* default, as text; NULL: "no", "0", first choice, "" */
    double min, max;            /* INT, NUMBER */
    const char *const *choices; /* CHOICE, NULL-terminated */
    const char *group;          /* heading in --help and section in a saved config */
    const char *placeholder;    /* of the value in --help; NULL: from the type */
    const char *help;           /* one line, no full stop */
    unsigned flags;
};

/* A row whose value is `field` of `values`; what a row need not have follows by name. */
#define LAM_OPTION_ROW(values, option, sort, field, preset, heading, ...)                                    \
    {                                                                                                        \
        .name = option, .type = LAM_OPTION_##sort, .offset = offsetof(values, field), .fallback = preset,    \
        .group = heading, __VA_ARGS__                                                                        \
    }
#define LAM_RANGE(low, high) .min = low, .max = high

struct lam_option_table {
    const struct lam_option *options;
    int count;
    void *values; /* the struct that the offsets count from */
};

enum { LAM_MAX_OPTION_TABLES = 4, LAM_MAX_OPTIONS = 160, LAM_MAX_RECIPE_DEPTH = 8 };

struct lam_options {
    const char *program; /* for --help: "classify-train" */
    const char *usage;   /* what follows it: "--data FORMAT:PATH [options]" */
    struct lam_option_table tables[LAM_MAX_OPTION_TABLES];
    int table_count;
    bool given[LAM_MAX_OPTIONS]; /* set by other than the default; tables in order, their rows in order */
    const char *recipes[LAM_MAX_RECIPE_DEPTH]; /* being read now, each named by the one before it */
    int recipe_depth;
    /* Takes the lines of a recipe's [tuning] section, whose names are no options; NULL: they are skipped. */
    lam_status (*tuning)(void *context, const char *choice);
    void *tuning_context;
};

/* Sets every value to its default. The structs must be zero or set by an earlier call. */
lam_status lam_options_defaults(struct lam_options *options);
/* Frees the text values. */
void lam_options_free(struct lam_options *options);

/* Takes argv[1 .. argc). Words that are no options go to words[0 .. *word_count), not copied; with
 * word_capacity 0 they are errors. Errors, one line each: unknown option (and the nearest), missing value,
 * not a number, out of range, no such choice, and the same in a recipe with file and line. */
lam_status lam_options_parse(struct lam_options *options, int argc, char *const *argv, const char **words,
                             int word_capacity, int *word_count);

/* Reads a recipe. `name` is what errors call it. */
lam_status lam_options_read(struct lam_options *options, const char *path);
lam_status lam_options_read_text(struct lam_options *options, const char *text, const char *name);

/* Sets one option from text. */
lam_status lam_options_set(struct lam_options *options, const char *name, const char *value);

/* Whether it was given on the command line or in a recipe. */
bool lam_options_given(const struct lam_options *options, const char *name);

/* Name of the first option, not RESUMABLE and not UNSAVED, whose value differs between two sets of the same
 * tables; NULL: none. */
const char *lam_options_difference(const struct lam_options *a, const struct lam_options *b);

/* malloc'd texts. help: in groups, for people. ini: every saved value but those with a flag of `without`,
 * reads back to the same values; LAM_ERR_UNSUPPORTED for a value that an INI file cannot hold. markdown: a
 * table for docs/. */
lam_status lam_options_help(const struct lam_options *options, char **text);
lam_status lam_options_ini(const struct lam_options *options, unsigned without, char **text);
lam_status lam_options_markdown(const struct lam_options *options, char **text);

#endif
