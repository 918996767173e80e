/* Options: every way in, every error line, and that what is saved reads back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/files.h"
#include "base/options.h"

struct values {
    bool flip, nesterov, help;
    int64_t epochs, seed;
    double rate;
    int precision;
    char *data, *recipe;
};

static const char *const precisions[] = {"f32", "bf16", NULL};
static const struct lam_option table[] = {
    {.name = "data",
     .type = LAM_OPTION_TEXT,
     .offset = offsetof(struct values, data),
     .fallback = "shapes",
     .group = "Data",
     .placeholder = "FORMAT:PATH",
     .help = "training data"},
    {.name = "flip",
     .offset = offsetof(struct values, flip),
     .group = "Data",
     .help = "mirror half of the images"},
    {.name = "epochs",
     .type = LAM_OPTION_INT,
     .offset = offsetof(struct values, epochs),
     .fallback = "10",
     .min = 1,
     .max = 1000,
     .group = "Training",
     .help = "passes over the data",
     .flags = LAM_OPTION_RESUMABLE},
    {.name = "seed",
     .type = LAM_OPTION_INT,
     .offset = offsetof(struct values, seed),
     .fallback = "1",
     .max = 9.2e18,
     .group = "Training",
     .help = "names the random numbers"},
    {.name = "lr",
     .type = LAM_OPTION_NUMBER,
     .offset = offsetof(struct values, rate),
     .fallback = "0.1",
     .max = 100,
     .group = "Training",
     .help = "learning rate"},
    {.name = "precision",
     .type = LAM_OPTION_CHOICE,
     .offset = offsetof(struct values, precision),
     .choices = precisions,
     .group = "Training",
     .help = "of activations"},
    {.name = "nesterov",
     .offset = offsetof(struct values, nesterov),
     .fallback = "yes",
     .group = "Training",
     .help = "Nesterov momentum"},
    {.name = "recipe",
     .type = LAM_OPTION_TEXT,
     .offset = offsetof(struct values, recipe),
     .group = "Run",
     .help = "options from a file",
     .flags = LAM_OPTION_RECIPE | LAM_OPTION_UNSAVED},
    {.name = "help",
     .offset = offsetof(struct values, help),
     .group = "Run",
     .help = "this text",
     .flags = LAM_OPTION_UNSAVED},
};

struct set {
    struct values values;
    struct lam_options options;
};

static void open_set(struct set *s) {
    memset(s, 0, sizeof *s);
    s->options.program = "trainer";
    s->options.tables[0] = (struct lam_option_table){table, sizeof table / sizeof *table, &s->values};
    s->options.table_count = 1;
    assert_int_equal(lam_options_defaults(&s->options), LAM_OK);
}

/* Splits `line` at blanks and parses it. */
static lam_status parse(struct set *s, const char *line) {
    char *copy = strdup(line), *argv[32] = {"trainer"}, *rest = NULL;
    int argc = 1;
    for (char *w = strtok_r(copy, " ", &rest); w && argc < 31; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    lam_status status = lam_options_parse(&s->options, argc, argv, NULL, 0, NULL);
    free(copy);
    return status;
}

static void forms(void **state) {
    (void)state;
    struct set s;
    open_set(&s);
    assert_int_equal(s.values.epochs, 10);
    assert_true(s.values.nesterov);
    assert_string_equal(s.values.data, "shapes");
    assert_false(lam_options_given(&s.options, "epochs"));
    assert_int_equal(parse(&s, "--epochs 3 --lr=0.25 --flip --no-nesterov --precision bf16 --data=idx:/a=b"),
                     LAM_OK);
    assert_int_equal(s.values.epochs, 3);
    assert_true(s.values.rate == 0.25 && s.values.flip && !s.values.nesterov && s.values.precision == 1);
    assert_string_equal(s.values.data, "idx:/a=b");
    assert_true(lam_options_given(&s.options, "epochs"));
    assert_int_equal(parse(&s, "--flip no --nesterov yes --epochs 4 --epochs 5"), LAM_OK);
    assert_true(!s.values.flip && s.values.nesterov && s.values.epochs == 5);
    assert_int_equal(parse(&s, "--seed 9007199254740993"), LAM_OK); /* more than a double holds */
    assert_true(s.values.seed == 9007199254740993LL);
    lam_options_free(&s.options);
}

static void words(void **state) {
    (void)state;
    struct set s;
    open_set(&s);
    const char *found[2];
    int count = 0;
    char *argv[] = {"x", "a.png", "--flip", "b.png"};
    assert_int_equal(lam_options_parse(&s.options, 4, argv, found, 2, &count), LAM_OK);
    assert_int_equal(count, 2);
    assert_string_equal(found[1], "b.png");
    char *dashes[] = {"x", "--", "--flip"};
    assert_int_equal(lam_options_parse(&s.options, 3, dashes, found, 2, &count), LAM_OK);
    assert_int_equal(count, 1);
    assert_string_equal(found[0], "--flip");
    lam_options_free(&s.options);
}

static void errors(void **state) {
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"--epoch 3", "--epoch: no such option; did you mean --epochs?"},
        {"--epoch=3", "--epoch: no such option; did you mean --epochs?"},
        {"--zzzzzzzz 3", "--zzzzzzzz: no such option; --help lists them"},
        {"--epochs", "--epochs needs a value: passes over the data"},
        {"--epochs --flip", "--epochs needs a value: passes over the data"},
        {"--epochs 0", "--epochs: 0 is out of range; it must be from 1 to 1000"},
        {"--epochs 1001", "--epochs: 1001 is out of range; it must be from 1 to 1000"},
        {"--epochs 99999999999999999999",
         "--epochs: 99999999999999999999 is out of range; it must be from 1 to "
         "1000"},
        {"--epochs 3x", "--epochs: '3x' is not a whole number"},
        {"--epochs=", "--epochs: '' is not a whole number"},
        {"--lr fast", "--lr: 'fast' is not a number"},
        {"--lr nan", "--lr: 'nan' is not a number"},
        {"--lr -1", "--lr: -1 is out of range; it must be from 0 to 100"},
        {"--lr inf", "--lr: inf is out of range; it must be from 0 to 100"},
        {"--precision fp16", "--precision: 'fp16' is not one of f32, bf16; did you mean bf16?"},
        {"--precision double", "--precision: 'double' is not one of f32, bf16"},
        {"--flip=maybe", "--flip: 'maybe' is neither yes nor no"},
        {"--no-epochs", "--no-epochs: no such option; did you mean --epochs?"},
        {"-e 3", "-e: options are written with two dashes; --help lists them"},
        {"epochs", "'epochs': no such argument; options begin with --"},
        {"--recipe /none/x.ini", "/none/x.ini: cannot be opened: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct set s;
        open_set(&s);
        assert_int_not_equal(parse(&s, cases[i].line), LAM_OK);
        assert_string_equal(lam_error_text(), cases[i].error);
        assert_int_equal(s.values.epochs, 10);
        lam_options_free(&s.options);
    }
}

static void recipes(void **state) {
    (void)state;
    struct set s;
    open_set(&s);
    assert_int_equal(
        lam_options_read_text(&s.options,
                              "# a comment\n[anything]\nepochs = 7\n  lr = 0.5 ; half\n\nflip = yes\r\n"
                              "data = cifar10:/long\ndata+ = er path\n[tuning]\nchoice = a = b\n",
                              "r.ini"),
        LAM_OK);
    assert_int_equal(s.values.epochs, 7);
    assert_true(s.values.rate == 0.5 && s.values.flip);
    assert_string_equal(s.values.data, "cifar10:/longer path");
    lam_options_free(&s.options);
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"\nepoch = 3\n", "r.ini:2: --epoch: no such option; did you mean --epochs?"},
        {"epochs = 0", "r.ini:1: --epochs: 0 is out of range; it must be from 1 to 1000"},
        {"[a]\n[b\n", "r.ini:2: neither [section] nor name = value nor a comment"},
        {"just words\n", "r.ini:1: neither [section] nor name = value nor a comment"},
        {"epochs+ = 3\n", "r.ini:1: --epochs: only a text can be continued with '+ ='"},
        {"seed = -1", "r.ini:1: --seed: -1 is out of range; it must be from 0 to 9200000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_set(&s);
        assert_int_not_equal(lam_options_read_text(&s.options, cases[i].text, "r.ini"), LAM_OK);
        assert_string_equal(lam_error_text(), cases[i].error);
        lam_options_free(&s.options);
    }
    char line[400] = "data = ";
    memset(line + 7, 'x', 300);
    open_set(&s);
    assert_int_equal(lam_options_read_text(&s.options, line, "r.ini"), LAM_ERR_FORMAT);
    assert_non_null(strstr(lam_error_text(), "r.ini:1: the line has 307 bytes"));
    lam_options_free(&s.options);
}

static void recipe_order(void **state) {
    (void)state;
    char path[] = "/tmp/lamina-recipe-XXXXXX", line[200];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(lam_file_write(path, "epochs = 7\nlr = 0.5\n", 20), LAM_OK);
    struct set s;
    open_set(&s);
    snprintf(line, sizeof line, "--lr 2 --recipe %s --epochs 8", path);
    assert_int_equal(parse(&s, line), LAM_OK);
    assert_int_equal(s.values.epochs, 8);
    assert_true(s.values.rate == 0.5);
    char *circle = lam_format("recipe = %s\n", path);
    assert_int_equal(lam_file_write(path, circle, strlen(circle)), LAM_OK);
    assert_int_equal(parse(&s, line), LAM_ERR_INVALID);
    free(circle);
    circle = lam_format("%s:1: %s: names itself, or a recipe that names it", path, path);
    assert_string_equal(lam_error_text(), circle);
    free(circle);
    unlink(path);
    lam_options_free(&s.options);
}

static lam_status keep_choice(void *context, const char *choice) {
    if (!strcmp(choice, "wrong")) return lam_fail(LAM_ERR_FORMAT, "is no choice");
    snprintf(context, 64, "%s", choice);
    return LAM_OK;
}

static void tuning_section(void **state) {
    (void)state;
    struct set s;
    open_set(&s);
    char kept[64] = "";
    s.options.tuning = keep_choice;
    s.options.tuning_context = kept;
    assert_int_equal(lam_options_read_text(&s.options, "[tuning]\n1 = conv 3x3 = winograd\n", "r.ini"),
                     LAM_OK);
    assert_string_equal(kept, "conv 3x3 = winograd");
    assert_int_equal(
        lam_options_read_text(&s.options, "[tuning]\n1 = a\n\n2 = wr\n2+ = ong\n3 = b\n", "r.ini"),
        LAM_ERR_FORMAT);
    assert_string_equal(lam_error_text(), "r.ini:4: is no choice");
    assert_string_equal(kept, "a");
    assert_int_equal(lam_options_read_text(&s.options, "[tuning]\n1 = wrong\n", "r.ini"), LAM_ERR_FORMAT);
    assert_string_equal(lam_error_text(), "r.ini:2: is no choice");
    lam_options_free(&s.options);
}

static void saved(void **state) {
    (void)state;
    struct set a, b;
    open_set(&a);
    char path[600] = "folder:/";
    for (int i = 0; i < 50; i++) strcat(path, "a b;c=d/");
    assert_int_equal(lam_options_set(&a.options, "data", path), LAM_OK);
    assert_int_equal(parse(&a, "--lr 0.30000000000000004 --no-nesterov --precision bf16 --epochs 12"),
                     LAM_OK);
    char *text;
    assert_int_equal(lam_options_ini(&a.options, 0, &text), LAM_OK);
    assert_null(strstr(text, "help"));
    assert_non_null(strstr(text, "\n[Training]\n"));
    open_set(&b);
    assert_int_equal(lam_options_read_text(&b.options, text, "config.ini"), LAM_OK);
    assert_string_equal(b.values.data, path);
    assert_true(b.values.rate == 0.30000000000000004 && !b.values.nesterov && b.values.precision == 1);
    assert_int_equal(b.values.epochs, 12);
    assert_null(lam_options_difference(&a.options, &b.options));
    b.values.epochs = 13; /* may differ on resume */
    assert_null(lam_options_difference(&a.options, &b.options));
    b.values.seed = 2;
    assert_string_equal(lam_options_difference(&a.options, &b.options), "seed");
    free(text);
    assert_int_equal(lam_options_ini(&a.options, LAM_OPTION_RESUMABLE, &text), LAM_OK);
    assert_null(strstr(text, "epochs"));
    assert_non_null(strstr(text, "seed"));
    free(text);
    static const char *const bad[] = {"a ;b", "line\nbreak", " space", ";first"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lam_options_set(&a.options, "data", bad[i]), LAM_OK);
        assert_int_equal(lam_options_ini(&a.options, 0, &text), LAM_ERR_UNSUPPORTED);
        assert_non_null(strstr(lam_error_text(), "--data: "));
    }
    lam_options_free(&a.options);
    lam_options_free(&b.options);
}

static void texts(void **state) {
    (void)state;
    struct set s;
    open_set(&s);
    char *text;
    assert_int_equal(lam_options_help(&s.options, &text), LAM_OK);
    assert_non_null(strstr(text, "usage: trainer"));
    assert_non_null(strstr(text, "\nData:\n  --data FORMAT:PATH "));
    assert_non_null(strstr(text, "passes over the data [10]\n"));
    assert_non_null(strstr(text, "--precision f32|bf16"));
    assert_non_null(strstr(text, "--no-nesterov"));
    free(text);
    assert_int_equal(lam_options_markdown(&s.options, &text), LAM_OK);
    assert_non_null(strstr(text, "| `--precision f32\\|bf16` | f32 | of activations |\n"));
    free(text);
    lam_options_free(&s.options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),   cmocka_unit_test(words),        cmocka_unit_test(errors),
        cmocka_unit_test(recipes), cmocka_unit_test(recipe_order), cmocka_unit_test(tuning_section),
        cmocka_unit_test(saved),   cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
