/* Recipes. What can be read can be saved (or is refused), and what was saved reads back to the same values.
 */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "fuzz/fuzz.h"

struct values {
    bool flip;
    int64_t epochs;
    double rate;
    int precision;
    char *data, *note;
};

static const char *const precisions[] = {"f32", "bf16", NULL};
static const struct lam_option table[] = {
    {.name = "flip", .offset = offsetof(struct values, flip), .group = "A"},
    {.name = "epochs",
     .type = LAM_OPTION_INT,
     .offset = offsetof(struct values, epochs),
     .max = 1e6,
     .group = "A"},
    {.name = "lr",
     .type = LAM_OPTION_NUMBER,
     .offset = offsetof(struct values, rate),
     .max = 1e30,
     .group = "B"},
    {.name = "precision",
     .type = LAM_OPTION_CHOICE,
     .offset = offsetof(struct values, precision),
     .choices = precisions,
     .group = "B"},
    {.name = "data", .type = LAM_OPTION_TEXT, .offset = offsetof(struct values, data), .group = "B"},
    {.name = "note", .type = LAM_OPTION_TEXT, .offset = offsetof(struct values, note), .group = "B"},
};

static lam_status take_choice(void *count, const char *choice) {
    *(size_t *)count += strlen(choice);
    return LAM_OK;
}

static struct lam_options make(struct values *values, size_t *choices) {
    memset(values, 0, sizeof *values);
    struct lam_options options = {.program = "fuzz",
                                  .tables = {{table, sizeof table / sizeof *table, values}},
                                  .table_count = 1,
                                  .tuning = take_choice,
                                  .tuning_context = choices};
    FUZZ_CHECK(lam_options_defaults(&options) == LAM_OK);
    return options;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct values a, b;
    size_t choices = 0;
    char *text = malloc(size + 1), *saved;
    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = 0;
    struct lam_options first = make(&a, &choices), second = make(&b, &choices);
    bool good = lam_options_read_text(&first, text, "recipe") == LAM_OK;
    if (!good) FUZZ_CHECK(strlen(lam_error_text()) > 0 && !strchr(lam_error_text(), '\n'));
    if (lam_options_ini(&first, 0, &saved) == LAM_OK) {
        FUZZ_CHECK(lam_options_read_text(&second, saved, "saved") == LAM_OK);
        FUZZ_CHECK(!lam_options_difference(&first, &second));
        free(saved);
    }
    lam_options_free(&first);
    lam_options_free(&second);
    free(text);
    return 0;
}
