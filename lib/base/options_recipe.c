/* Recipe files. Debian's inih holds lines of at most 199 bytes and splits longer ones silently, and takes an
 * indented line as the continuation of a value. So lines reach it through read_line, which counts them (for
 * error texts), refuses long ones and strips indentation; long values are written in pieces. */
#include "base/options_recipe.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

enum { LINE_MAX_BYTES = 190, PIECE_BYTES = 140 };

struct reader {
    struct lam_options *options;
    const char *name;
    const char *next; /* unread text */
    int line;
    char *choice; /* line of the [tuning] section that may still be continued; NULL: none */
    int choice_line;
    lam_status status;
};

/* fgets for inih. */
static char *read_line(char *text, int size, void *stream) {
    struct reader *reader = stream;
    if (!*reader->next || reader->status != LAM_OK) return NULL;
    reader->line++;
    const char *begin = reader->next + strspn(reader->next, " \t");
    size_t length = strcspn(begin, "\n");
    reader->next = begin + length + (begin[length] == '\n');
    if (length > LINE_MAX_BYTES || (int)length + 2 > size) {
        reader->status = lam_fail(LAM_ERR_FORMAT,
                                  "%s:%d: the line has %zu bytes, more than %d; continue a long text with "
                                  "'name+ = rest'",
                                  reader->name, reader->line, length, LINE_MAX_BYTES);
        return NULL;
    }
    memcpy(text, begin, length);
    memcpy(text + length, "\n", 2);
    return text;
}

/* Puts the recipe's name and the line in front of an error. */
static lam_status at_line(const struct reader *reader, int line, lam_status status) {
    if (status == LAM_OK) return LAM_OK;
    return lam_fail(status, "%s:%d: %s", reader->name, line, lam_error_text());
}

/* Hands on the [tuning] line that is complete now. */
static lam_status end_choice(struct reader *reader) {
    char *choice = reader->choice;
    reader->choice = NULL;
    if (!choice) return LAM_OK;
    struct lam_options *options = reader->options;
    lam_status status = options->tuning ? options->tuning(options->tuning_context, choice) : LAM_OK;
    free(choice);
    return at_line(reader, reader->choice_line, status);
}

static bool is_continued(const char *name) {
    size_t length = strlen(name);
    return length > 1 && name[length - 1] == '+';
}

static lam_status take_choice(struct reader *reader, const char *name, const char *value) {
    bool continued = is_continued(name) && reader->choice;
    char *joined = lam_format("%s%s", continued ? reader->choice : "", value);
    if (!joined) return lam_no_memory();
    if (continued) free(reader->choice);
    lam_status status = continued ? LAM_OK : end_choice(reader);
    reader->choice = joined;
    if (!continued) reader->choice_line = reader->line;
    return status;
}

static lam_status take(struct reader *reader, const char *name, const char *value) {
    if (!is_continued(name)) return lam_options_set(reader->options, name, value);
    size_t length = strlen(name);
    char plain[200];
    while (length > 1 && strchr("+ \t", name[length - 1])) length--;
    snprintf(plain, sizeof plain, "%.*s", (int)length, name);
    return lam_options_append(reader->options, plain, value);
}

static int handle(void *user, const char *section, const char *name, const char *value) {
    struct reader *reader = user;
    if (reader->status != LAM_OK) return 0;
    if (!strcmp(section, "tuning"))
        reader->status = take_choice(reader, name, value);
    else
        reader->status = at_line(reader, reader->line, take(reader, name, value));
    return reader->status == LAM_OK;
}

/* Remembers that `name` is being read, unless it is already. */
static lam_status begin_recipe(struct lam_options *options, const char *name) {
    for (int i = 0; i < options->recipe_depth; i++)
        if (!strcmp(options->recipes[i], name))
            return lam_fail(LAM_ERR_INVALID, "%s: names itself, or a recipe that names it", name);
    if (options->recipe_depth == LAM_MAX_RECIPE_DEPTH)
        return lam_fail(LAM_ERR_INVALID, "%s: recipes that name recipes go %d deep; is it a circle?", name,
                        LAM_MAX_RECIPE_DEPTH);
    options->recipes[options->recipe_depth++] = name;
    return LAM_OK;
}

lam_status lam_options_read_text(struct lam_options *options, const char *text, const char *name) {
    struct reader reader = {.options = options, .name = name, .next = text};
    LAM_TRY(begin_recipe(options, name));
    int line = ini_parse_stream(read_line, &reader, handle, &reader);
    options->recipe_depth--;
    if (reader.status == LAM_OK) reader.status = end_choice(&reader);
    free(reader.choice);
    if (reader.status != LAM_OK) return reader.status;
    if (line < 0) return lam_no_memory();
    if (line > 0)
        return lam_fail(LAM_ERR_FORMAT, "%s:%d: neither [section] nor name = value nor a comment", name,
                        line);
    return LAM_OK;
}

lam_status lam_options_read(struct lam_options *options, const char *path) {
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    lam_status status = strlen((char *)data) == size
                            ? lam_options_read_text(options, (char *)data, path)
                            : lam_fail(LAM_ERR_FORMAT, "%s: has a zero byte; a recipe is a text file", path);
    free(data);
    return status;
}

/* Bytes of `text` that go on one line: all, or up to a place with neither blank nor comment mark beside it,
 * because inih drops those. 0: there is no such place. */
static size_t piece_length(const char *text) {
    size_t length = strlen(text);
    if (length <= PIECE_BYTES) return length;
    for (length = PIECE_BYTES; length > 0; length--)
        if (!strchr(" \t", text[length - 1]) && !strchr(" \t;", text[length])) break;
    return length;
}

bool lam_recipe_can_hold(const char *text) {
    size_t length = strlen(text);
    if (!length) return true;
    if (strchr(" \t;", text[0]) || strchr(" \t", text[length - 1])) return false;
    if (strpbrk(text, "\n\r\v\f") || strstr(text, " ;") || strstr(text, "\t;")) return false;
    for (; *text; text += length) {
        length = piece_length(text);
        if (!length) return false;
    }
    return true;
}

void lam_recipe_write(FILE *to, const char *name, const char *text) {
    const char *mark = " = ";
    do {
        size_t length = piece_length(text);
        fprintf(to, "%s%s%.*s\n", name, mark, (int)length, text);
        text += length;
        mark = "+ = ";
    } while (*text);
}
