/* The table of commands, their shared options, and the dispatch. */
#include "train/commands.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"

static const struct lam_command table[] = {
    {"plan", "[TASK] --model NAME --data FORMAT:PATH [options of the training program]",
     "network, FLOPs, forecast memory and step time of a run; trains nothing", lam_command_plan},
    {"eval", "CHECKPOINT|RUN [options]", "scores on validation data, per class, with confusion matrix",
     lam_command_eval},
    {"predict", "CHECKPOINT|RUN IMAGE... [options]", "what the network says of images", lam_command_predict},
    {"info", "CHECKPOINT|RUN [options]", "what it is, how it was trained, how far", lam_command_info},
    {"check", "--data FORMAT:PATH [options]", "reads every sample, lists the bad ones with reasons",
     lam_command_check},
    {"export", "CHECKPOINT --onnx FILE", "not in this version", lam_command_export},
    {"options", "", "the training programs' options as Markdown: what docs/OPTIONS.md is made of",
     lam_command_options},
};
enum { COMMANDS = sizeof table / sizeof *table };

/* ---- shared options ---- */

#define ROW(option, sort, field, preset, ...)                                                                \
    {                                                                                                        \
        .name = option, .type = LAM_OPTION_##sort, .offset = offsetof(struct lam_command_options, field),    \
        .fallback = preset, .group = "Options", __VA_ARGS__                                                  \
    }
#define RANGE(low, high) .min = low, .max = high

static const char *const weights[] = {"average", "raw", NULL};
static const struct lam_option options_table[] = {
    ROW("data", TEXT, data, "", .placeholder = "FORMAT:PATH", .help = "data; else what the recipe names"),
    ROW("batch", INT, batch, "0", RANGE(0, 65536), .help = "samples at once; 0 = as in the recipe"),
    ROW("weights", CHOICE, weights, "average", .choices = weights,
        .help = "the weights' average where training kept one (--ema), or the weights themselves"),
    ROW("devices", TEXT, devices, "", .placeholder = "NAME", .help = "device; else all cores"),
    ROW("threads", INT, threads, "0", RANGE(0, 4096), .help = "cores to use; 0 = all"),
    ROW("memory-limit", TEXT, memory_limit, "", .placeholder = "BYTES", .help = "most memory on the device"),
    ROW("loader-threads", INT, loader_threads, "0", RANGE(0, 256), .help = "threads that prepare batches"),
    ROW("skip-bad", BOOL, skip_bad, "no", .help = "leave out samples that cannot be read"),
    ROW("out", TEXT, out, "", .placeholder = "FOLDER", .help = "where pictures and tables go"),
    ROW("json", TEXT, json, "", .placeholder = "FILE",
        .help = "also the result as JSON; - = standard output"),
    ROW("help", BOOL, help, "no", .help = "print this text"),
};

static struct lam_options option_set(const struct lam_command *command, struct lam_command_options *options,
                                     char *program, size_t size) {
    snprintf(program, size, "lamina %s", command->name);
    return (struct lam_options){
        .program = program,
        .usage = command->usage,
        .tables = {{options_table, (int)(sizeof options_table / sizeof *options_table), options}},
        .table_count = 1};
}

/* Before the work, not after it. */
static lam_status check_outputs(const struct lam_command_options *options) {
    lam_status status = LAM_OK;
    if (*options->json && strcmp(options->json, "-") != 0) status = lam_check_output_file(options->json);
    if (status != LAM_OK) return lam_fail_in(status, "--json");
    if (*options->out) status = lam_check_output_folder(options->out);
    return status == LAM_OK ? LAM_OK : lam_fail_in(status, "--out");
}

lam_status lam_command_parse(const struct lam_command *command, int argc, char **argv,
                             struct lam_command_options *options, const char **words, int capacity,
                             int *word_count, FILE *out, bool *done) {
    char program[64];
    memset(options, 0, sizeof *options);
    struct lam_options set = option_set(command, options, program, sizeof program);
    *done = false;
    LAM_TRY(lam_options_defaults(&set));
    LAM_TRY(lam_options_parse(&set, argc, argv, words, capacity, word_count));
    if (options->threads && *options->devices)
        return lam_fail(LAM_ERR_INVALID, "--threads and --devices say the same; use one of them");
    if (!options->help) return check_outputs(options);
    char *text;
    LAM_TRY(lam_options_help(&set, &text));
    fprintf(out, "%s", text);
    free(text);
    *done = true;
    return LAM_OK;
}

/* ---- options of tasks ---- */

/* The task's option that a word such as --tile, --tile=96 or --no-border names, if it may stand here; NULL: none. */
static const struct lam_option *named_by(const struct lam_task *const *tasks, const char *word) {
    if (strncmp(word, "--", 2) != 0) return NULL;
    const char *name = word + 2;
    size_t length = strcspn(name, "=");
    for (int t = 0; tasks[t]; t++)
        for (int i = 0; i < tasks[t]->option_count; i++) {
            const struct lam_option *option = &tasks[t]->options[i];
            bool negated = option->type == LAM_OPTION_BOOL && !strncmp(name, "no-", 3);
            size_t skip = negated && strncmp(name, option->name, length) != 0 ? 3 : 0;
            if ((option->flags & LAM_OPTION_USE) && strlen(option->name) == length - skip &&
                !strncmp(name + skip, option->name, length - skip))
                return option;
        }
    return NULL;
}

static bool is_truth(const char *word) {
    static const char *const truths[] = {"yes", "no", "true", "false", "on", "off", "1", "0"};
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++)
        if (!strcmp(word, truths[i])) return true;
    return false;
}

/* Whether the option's value is the word after it. */
static bool takes_next(const struct lam_option *option, const char *word, const char *next) {
    if (strchr(word, '=') || !next) return false;
    return option->type != LAM_OPTION_BOOL || (is_truth(next) && strncmp(word, "--no-", 5) != 0);
}

static void print_task_options(const struct lam_task *const *tasks, FILE *out) {
    for (int t = 0; tasks[t]; t++)
        for (int i = 0, any = 0; i < tasks[t]->option_count; i++) {
            const struct lam_option *option = &tasks[t]->options[i];
            if (!(option->flags & LAM_OPTION_USE)) continue;
            if (!any++) fprintf(out, "\nOf %s:\n", tasks[t]->program);
            fprintf(out, "  --%-18s %s\n", option->name, option->help);
        }
}

lam_status lam_command_parse_with(const struct lam_task *const *tasks, const struct lam_command *command,
                                  int argc, char **argv, struct lam_command_options *options,
                                  const char **words, int capacity, int *word_count, FILE *out, bool *done) {
    memset(options, 0, sizeof *options);
    char **own = calloc(2 * ((size_t)argc + 1), sizeof *own), **theirs = own ? own + argc + 1 : NULL;
    int own_count = 0, their_count = 1;
    if (!own) return lam_no_memory();
    theirs[0] = argv[0];
    for (int i = 0; i < argc; i++) {
        const struct lam_option *option = i > 0 ? named_by(tasks, argv[i]) : NULL;
        if (!option) {
            own[own_count++] = argv[i];
            continue;
        }
        theirs[their_count++] = argv[i];
        if (takes_next(option, argv[i], i + 1 < argc ? argv[i + 1] : NULL)) theirs[their_count++] = argv[++i];
    }
    lam_status status =
        lam_command_parse(command, own_count, own, options, words, capacity, word_count, out, done);
    memmove(own, theirs, (size_t)their_count * sizeof *own);
    options->task_words = own;
    options->task_word_count = their_count;
    if (status == LAM_OK && *done) print_task_options(tasks, out);
    return status;
}

void lam_command_options_free(struct lam_command_options *options) {
    free(options->task_words);
    char program[64];
    struct lam_options set = option_set(&table[0], options, program, sizeof program);
    lam_options_free(&set);
}

lam_status lam_command_write_json(const char *path, json_t *json, FILE *out) {
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (!text) return lam_no_memory();
    lam_status status = LAM_OK;
    if (!strcmp(path, "-"))
        fprintf(out, "%s\n", text);
    else
        status = lam_file_write(path, text, strlen(text));
    free(text);
    return status;
}

/* ---- dispatch ---- */

LAM_COMMAND(export) {
    (void)command, (void)tasks, (void)argc, (void)argv, (void)out, (void)err;
    return lam_fail(LAM_ERR_UNSUPPORTED, "export: ONNX is not in this version; checkpoints are safetensors, "
                                         "with weights by PyTorch's names");
}

enum { MOST_COMMANDS = COMMANDS + 16 };

/* Those of the library, then the program's; returns how many. */
static int list_commands(const struct lam_command *further, const struct lam_command *list[MOST_COMMANDS]) {
    int count = 0;
    for (int i = 0; i < COMMANDS; i++) list[count++] = &table[i];
    for (; further && further->name && count < MOST_COMMANDS; further++) list[count++] = further;
    return count;
}

static void print_usage(const struct lam_task *const *tasks, const struct lam_command *further, FILE *to) {
    const struct lam_command *list[MOST_COMMANDS];
    int count = list_commands(further, list);
    fputs("usage: lamina COMMAND ...; lamina COMMAND --help says more\n\n", to);
    for (int i = 0; i < count; i++) fprintf(to, "  %-9s %s\n", list[i]->name, list[i]->help);
    fputs("\nTraining:\n", to);
    for (int i = 0; tasks[i]; i++) fprintf(to, "  %s  %s\n", tasks[i]->program, tasks[i]->help);
    fputs("\nExit status: 0 done, 1 failed, 2 bad usage or input.\n", to);
}

/* NULL: there is none, and `err` is told. */
static const struct lam_command *find(const struct lam_command *further, const char *name, FILE *err) {
    const struct lam_command *list[MOST_COMMANDS];
    const char *names[MOST_COMMANDS];
    int count = list_commands(further, list);
    for (int i = 0; i < count; i++) {
        names[i] = list[i]->name;
        if (!strcmp(names[i], name)) return list[i];
    }
    const char *near = lam_nearest(name, names, count);
    if (near)
        fprintf(err, "lamina: there is no command '%s'; did you mean '%s'?\n", name, near);
    else
        fprintf(err, "lamina: there is no command '%s'; lamina --help lists them\n", name);
    return NULL;
}

static void print_log(void *err, enum lam_log_level level, const char *text) {
    fprintf(err, "lamina: %s%s\n", level == LAM_LOG_WARNING ? "warning: " : "", text);
}

int lam_commands_program(const struct lam_task *const *tasks, const struct lam_command *further, int argc,
                         char **argv, FILE *out, FILE *err) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "help")) {
        print_usage(tasks, further, out);
        return 0;
    }
    if (!strcmp(name, "--version")) {
        fprintf(out, "lamina %s\n", LAMINA_VERSION);
        return 0;
    }
    if (!*name) {
        print_usage(tasks, further, err);
        return lam_exit_code(LAM_ERR_INVALID);
    }
    const struct lam_command *command = find(further, name, err);
    if (!command) return lam_exit_code(LAM_ERR_INVALID);
    lam_log_set_sink(print_log, err);
    lam_status status = command->run(command, tasks, argc - 1, argv + 1, out, err);
    lam_log_set_sink(NULL, NULL);
    if (status != LAM_OK) fprintf(err, "lamina %s: %s\n", name, lam_error_text());
    return lam_exit_code(status);
}
