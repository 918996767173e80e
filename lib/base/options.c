/* Parsing and printing of option tables. All ways in (command line, recipe, default) end in set_value, so
 * that they share every check and every error text; all ways out (help, config, docs) read the same rows. */
#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/options_recipe.h"

/* ---- rows ---- */

const struct lam_option *lam_options_row(const struct lam_options *options, int index, void **value) {
    for (int t = 0; t < options->table_count; t++) {
        const struct lam_option_table *table = &options->tables[t];
        if (index < table->count) {
            const struct lam_option *row = &table->options[index];
            if (value) *value = (char *)table->values + row->offset;
            return row;
        }
        index -= table->count;
    }
    return NULL;
}

static int find(const struct lam_options *options, const char *name, size_t length) {
    const struct lam_option *row;
    for (int i = 0; (row = lam_options_row(options, i, NULL)); i++)
        if (strlen(row->name) == length && !memcmp(row->name, name, length)) return i;
    return -1;
}

static lam_status unknown(const struct lam_options *options, const char *name) {
    const char *names[LAM_MAX_OPTIONS];
    int count = 0;
    const struct lam_option *row;
    while (count < LAM_MAX_OPTIONS && (row = lam_options_row(options, count, NULL)))
        names[count++] = row->name;
    const char *near = lam_nearest(name, names, count);
    if (near) return lam_fail(LAM_ERR_INVALID, "--%s: no such option; did you mean --%s?", name, near);
    return lam_fail(LAM_ERR_INVALID, "--%s: no such option; --help lists them", name);
}

/* ---- values from text ---- */

static int choice_count(const struct lam_option *row) {
    int n = 0;
    while (row->choices[n]) n++;
    return n;
}

static bool parse_bool(const char *text, bool *value) {
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
    for (int i = 0; i < 8; i++)
        if (!strcasecmp(text, words[i])) {
            *value = i & 1;
            return true;
        }
    return false;
}

/* Shortest text that reads back as the same number. */
static void number_text(double value, char *text, size_t size) {
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return;
    }
}

static lam_status out_of_range(const struct lam_option *row, const char *text) {
    char low[40], high[40];
    if (row->type == LAM_OPTION_INT) {
        snprintf(low, sizeof low, "%.0f", row->min);
        snprintf(high, sizeof high, "%.0f", row->max);
    } else {
        number_text(row->min, low, sizeof low);
        number_text(row->max, high, sizeof high);
    }
    return lam_fail(LAM_ERR_INVALID, "--%s: %s is out of range; it must be from %s to %s", row->name, text,
                    low, high);
}

static lam_status set_int(const struct lam_option *row, int64_t *value, const char *text) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end)
        return lam_fail(LAM_ERR_INVALID, "--%s: '%.60s' is not a whole number", row->name, text);
    if (errno == ERANGE || (double)number < row->min || (double)number > row->max)
        return out_of_range(row, text);
    *value = number;
    return LAM_OK;
}

static lam_status set_number(const struct lam_option *row, double *value, const char *text) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || isnan(number))
        return lam_fail(LAM_ERR_INVALID, "--%s: '%.60s' is not a number", row->name, text);
    if (number < row->min || number > row->max) return out_of_range(row, text);
    *value = number;
    return LAM_OK;
}

static lam_status set_choice(const struct lam_option *row, int *value, const char *text) {
    int count = choice_count(row);
    for (int i = 0; i < count; i++)
        if (!strcmp(text, row->choices[i])) {
            *value = i;
            return LAM_OK;
        }
    const char *near = lam_nearest(text, row->choices, count);
    char list[512];
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", row->choices[i]);
    if (near)
        return lam_fail(LAM_ERR_INVALID, "--%s: '%.60s' is not one of %s; did you mean %s?", row->name, text,
                        list, near);
    return lam_fail(LAM_ERR_INVALID, "--%s: '%.60s' is not one of %s", row->name, text, list);
}

static lam_status set_text(char **value, const char *text) {
    char *copy = strdup(text);
    if (!copy) return lam_no_memory();
    free(*value);
    *value = copy;
    return LAM_OK;
}

static lam_status set_value(const struct lam_option *row, void *value, const char *text) {
    switch (row->type) {
    case LAM_OPTION_BOOL:
        if (parse_bool(text, value)) return LAM_OK;
        return lam_fail(LAM_ERR_INVALID, "--%s: '%.60s' is neither yes nor no", row->name, text);
    case LAM_OPTION_INT:
        return set_int(row, value, text);
    case LAM_OPTION_NUMBER:
        return set_number(row, value, text);
    case LAM_OPTION_CHOICE:
        return set_choice(row, value, text);
    case LAM_OPTION_TEXT:
        return set_text(value, text);
    }
    return lam_fail(LAM_ERR_INTERNAL, "--%s: unknown type of option", row->name);
}

static const char *fallback(const struct lam_option *row) {
    if (row->fallback) return row->fallback;
    switch (row->type) {
    case LAM_OPTION_BOOL:
        return "no";
    case LAM_OPTION_INT:
    case LAM_OPTION_NUMBER:
        return "0";
    case LAM_OPTION_CHOICE:
        return row->choices[0];
    case LAM_OPTION_TEXT:
        break;
    }
    return "";
}

static void value_text(const struct lam_option *row, const void *value, char *text, size_t size) {
    switch (row->type) {
    case LAM_OPTION_BOOL:
        snprintf(text, size, "%s", *(const bool *)value ? "yes" : "no");
        break;
    case LAM_OPTION_INT:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)value);
        break;
    case LAM_OPTION_NUMBER:
        number_text(*(const double *)value, text, size);
        break;
    case LAM_OPTION_CHOICE:
        snprintf(text, size, "%s", row->choices[*(const int *)value]);
        break;
    case LAM_OPTION_TEXT:
        snprintf(text, size, "%s", *(char *const *)value);
        break;
    }
}

/* ---- the whole set ---- */

lam_status lam_options_defaults(struct lam_options *options) {
    const struct lam_option *row;
    void *value;
    for (int i = 0; (row = lam_options_row(options, i, &value)); i++) {
        if (i >= LAM_MAX_OPTIONS) return lam_fail(LAM_ERR_INTERNAL, "more than %d options", LAM_MAX_OPTIONS);
        LAM_TRY(set_value(row, value, fallback(row)));
        options->given[i] = false;
    }
    return LAM_OK;
}

void lam_options_free(struct lam_options *options) {
    const struct lam_option *row;
    void *value;
    for (int i = 0; (row = lam_options_row(options, i, &value)); i++)
        if (row->type == LAM_OPTION_TEXT) {
            free(*(char **)value);
            *(char **)value = NULL;
        }
}

static lam_status set_at(struct lam_options *options, int index, const char *text) {
    void *value;
    const struct lam_option *row = lam_options_row(options, index, &value);
    if (row->flags & LAM_OPTION_RECIPE) LAM_TRY(lam_options_read(options, text));
    LAM_TRY(set_value(row, value, text));
    options->given[index] = true;
    return LAM_OK;
}

lam_status lam_options_set(struct lam_options *options, const char *name, const char *value) {
    int index = find(options, name, strlen(name));
    return index < 0 ? unknown(options, name) : set_at(options, index, value);
}

lam_status lam_options_append(struct lam_options *options, const char *name, const char *more) {
    int index = find(options, name, strlen(name));
    if (index < 0) return unknown(options, name);
    void *value;
    const struct lam_option *row = lam_options_row(options, index, &value);
    if (row->type != LAM_OPTION_TEXT)
        return lam_fail(LAM_ERR_INVALID, "--%s: only a text can be continued with '+ ='", name);
    char *joined = lam_format("%s%s", *(char **)value, more);
    if (!joined) return lam_no_memory();
    lam_status status = set_at(options, index, joined);
    free(joined);
    return status;
}

bool lam_options_given(const struct lam_options *options, const char *name) {
    int index = find(options, name, strlen(name));
    return index >= 0 && options->given[index];
}

const char *lam_options_difference(const struct lam_options *a, const struct lam_options *b) {
    const struct lam_option *row;
    void *first, *second;
    for (int i = 0; (row = lam_options_row(a, i, &first)); i++) {
        if (row->flags & (LAM_OPTION_UNSAVED | LAM_OPTION_RESUMABLE)) continue;
        if (!lam_options_row(b, i, &second)) return row->name;
        char left[4096], right[4096];
        value_text(row, first, left, sizeof left);
        value_text(row, second, right, sizeof right);
        if (strcmp(left, right) != 0) return row->name;
    }
    return NULL;
}

/* ---- the command line ---- */

/* "--name value", "--name=value", "--name", "--no-name"; *used: how many further words were taken. */
static lam_status parse_option(struct lam_options *options, const char *word, const char *next, int *used) {
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    *used = 0;
    int index = find(options, name, length);
    const struct lam_option *row = index < 0 ? NULL : lam_options_row(options, index, NULL);
    if (!row && !equals && !strncmp(name, "no-", 3)) {
        index = find(options, name + 3, length - 3);
        row = index < 0 ? NULL : lam_options_row(options, index, NULL);
        if (row && row->type == LAM_OPTION_BOOL) return set_at(options, index, "no");
        row = NULL;
    }
    if (!row) {
        char *copy = strndup(name, length);
        if (!copy) return lam_no_memory();
        lam_status status = unknown(options, copy);
        free(copy);
        return status;
    }
    if (equals) return set_at(options, index, equals + 1);
    bool ignored;
    if (row->type == LAM_OPTION_BOOL) {
        *used = next && strlen(next) > 1 && parse_bool(next, &ignored);
        return set_at(options, index, *used ? next : "yes");
    }
    if (!next || !strncmp(next, "--", 2))
        return lam_fail(LAM_ERR_INVALID, "--%s needs a value: %s", row->name, row->help);
    *used = 1;
    return set_at(options, index, next);
}

lam_status lam_options_parse(struct lam_options *options, int argc, char *const *argv, const char **words,
                             int word_capacity, int *word_count) {
    int found = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && !strncmp(argv[i], "--", 2)) {
            int used;
            LAM_TRY(parse_option(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used));
            i += used;
        } else if (!only_words && argv[i][0] == '-' && isalpha((unsigned char)argv[i][1])) {
            return lam_fail(LAM_ERR_INVALID, "%s: options are written with two dashes; --help lists them",
                            argv[i]);
        } else if (found < word_capacity) {
            words[found++] = argv[i];
        } else {
            return lam_fail(LAM_ERR_INVALID, "'%.100s': no such argument; options begin with --", argv[i]);
        }
    }
    if (word_count) *word_count = found;
    return LAM_OK;
}

/* ---- texts ---- */

static const char *placeholder(const struct lam_option *row) {
    if (row->placeholder) return row->placeholder;
    return row->type == LAM_OPTION_BOOL ? "" : row->type == LAM_OPTION_TEXT ? "TEXT" : "N";
}

/* "--precision f32|bf16" */
static void option_head(const struct lam_option *row, char *text, size_t size) {
    int used = snprintf(text, size, "--%s", row->name);
    if (row->type == LAM_OPTION_BOOL) {
        if (row->fallback && !strcmp(row->fallback, "yes")) snprintf(text, size, "--no-%s", row->name);
        return;
    }
    if (row->type != LAM_OPTION_CHOICE || row->placeholder) {
        snprintf(text + used, size - (size_t)used, " %s", placeholder(row));
        return;
    }
    for (int i = 0; row->choices[i] && (size_t)used < size; i++)
        used += snprintf(text + used, size - (size_t)used, "%s%s", i ? "|" : " ", row->choices[i]);
}

static bool shows_default(const struct lam_option *row) {
    const char *text = fallback(row);
    return row->type != LAM_OPTION_BOOL && *text && !(row->flags & LAM_OPTION_UNSAVED);
}

struct output {
    FILE *file;
    unsigned without; /* flags of options that are left out */
};

/* Calls visit for each row, group by group in the order in which groups first appear. */
static void each_group(const struct lam_options *options, struct output *to,
                       void (*heading)(FILE *to, const char *group),
                       void (*visit)(struct output *to, const struct lam_option *row, const void *value)) {
    const struct lam_option *row, *other;
    void *value;
    for (int i = 0; (row = lam_options_row(options, i, NULL)); i++) {
        bool seen = false;
        for (int j = 0; j < i && !seen; j++)
            seen = !strcmp(lam_options_row(options, j, NULL)->group, row->group);
        if (seen) continue;
        heading(to->file, row->group);
        for (int j = i; (other = lam_options_row(options, j, &value)); j++)
            if (!strcmp(other->group, row->group)) visit(to, other, value);
    }
}

static void help_heading(FILE *to, const char *group) {
    fprintf(to, "\n%s:\n", group);
}

static void help_row(struct output *to, const struct lam_option *row, const void *value) {
    (void)value;
    char head[256];
    option_head(row, head, sizeof head);
    if (strlen(head) > 30)
        fprintf(to->file, "  %s\n  %-30s  %s", head, "", row->help);
    else
        fprintf(to->file, "  %-30s  %s", head, row->help);
    if (shows_default(row)) fprintf(to->file, " [%s]", fallback(row));
    fputc('\n', to->file);
}

/* Runs `print` into a malloc'd text. */
static lam_status to_text(const struct lam_options *options, char **text, unsigned without,
                          lam_status (*print)(struct output *to, const struct lam_options *options)) {
    char *made = NULL;
    size_t size = 0;
    struct output to = {open_memstream(&made, &size), without};
    if (!to.file) return lam_no_memory();
    lam_status status = print(&to, options);
    if (fclose(to.file) != 0 && status == LAM_OK) status = lam_no_memory();
    if (status != LAM_OK)
        free(made);
    else
        *text = made;
    return status;
}

static lam_status print_help(struct output *to, const struct lam_options *options) {
    fprintf(to->file, "usage: %s %s\n", options->program, options->usage ? options->usage : "[options]");
    each_group(options, to, help_heading, help_row);
    return LAM_OK;
}

lam_status lam_options_help(const struct lam_options *options, char **text) {
    return to_text(options, text, 0, print_help);
}

static void markdown_heading(FILE *to, const char *group) {
    fprintf(to, "\n### %s\n\n| option | default | meaning |\n|---|---|---|\n", group);
}

static void markdown_row(struct output *to, const struct lam_option *row, const void *value) {
    (void)value;
    char head[256];
    option_head(row, head, sizeof head);
    fputs("| `", to->file);
    for (const char *p = head; *p; p++) *p == '|' ? fputs("\\|", to->file) : fputc(*p, to->file);
    fprintf(to->file, "` | %s | %s |\n", shows_default(row) ? fallback(row) : "", row->help);
}

static lam_status print_markdown(struct output *to, const struct lam_options *options) {
    each_group(options, to, markdown_heading, markdown_row);
    return LAM_OK;
}

lam_status lam_options_markdown(const struct lam_options *options, char **text) {
    return to_text(options, text, 0, print_markdown);
}

static void ini_heading(FILE *to, const char *group) {
    fprintf(to, "\n[%s]\n", group);
}

static void ini_row(struct output *to, const struct lam_option *row, const void *value) {
    if (row->flags & to->without) return;
    if (row->type == LAM_OPTION_TEXT) {
        lam_recipe_write(to->file, row->name, *(char *const *)value);
        return;
    }
    char text[64];
    value_text(row, value, text, sizeof text);
    fprintf(to->file, "%s = %s\n", row->name, text);
}

static lam_status print_ini(struct output *to, const struct lam_options *options) {
    const struct lam_option *row;
    void *value;
    for (int i = 0; (row = lam_options_row(options, i, &value)); i++)
        if (row->type == LAM_OPTION_TEXT && !(row->flags & to->without) &&
            !lam_recipe_can_hold(*(char **)value))
            return lam_fail(LAM_ERR_UNSUPPORTED,
                            "--%s: '%.100s' cannot be saved in config.ini; avoid line breaks, ' ;' and "
                            "spaces at the ends",
                            row->name, *(char **)value);
    fprintf(to->file, "# %s --recipe THIS_FILE runs it again\n", options->program);
    each_group(options, to, ini_heading, ini_row);
    return LAM_OK;
}

lam_status lam_options_ini(const struct lam_options *options, unsigned without, char **text) {
    return to_text(options, text, without | LAM_OPTION_UNSAVED, print_ini);
}
