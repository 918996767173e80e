/* PASCAL VOC annotations, by expat.
 *
 *     <annotation>
 *         <size> <width>500</width> <height>375</height> ... </size>
 *         <object>
 *             <name>dog</name> <difficult>0</difficult> ...
 *             <bndbox> <xmin>48</xmin> <ymin>240</ymin> <xmax>195</xmax> <ymax>371</ymax> </bndbox>
 *         </object>
 *     </annotation>
 *
 * An element means something only in its place, so that the <name> and <bndbox> of an object's <part> are not taken for the
 * object's. All other elements are passed over. */
#include "data/voc_xml.h"

#include <expat.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

enum place {
    OUTSIDE,
    ANNOTATION,
    SIZE,
    WIDTH,
    HEIGHT,
    OBJECT,
    NAME,
    DIFFICULT,
    BNDBOX,
    XMIN,
    YMIN,
    XMAX,
    YMAX
};

static const struct {
    enum place parent;
    const char *name;
    bool has_text;
} places[] = {
    [ANNOTATION] = {OUTSIDE, "annotation", false},
    [SIZE] = {ANNOTATION, "size", false},
    [WIDTH] = {SIZE, "width", true},
    [HEIGHT] = {SIZE, "height", true},
    [OBJECT] = {ANNOTATION, "object", false},
    [NAME] = {OBJECT, "name", true},
    [DIFFICULT] = {OBJECT, "difficult", true},
    [BNDBOX] = {OBJECT, "bndbox", false},
    [XMIN] = {BNDBOX, "xmin", true},
    [YMIN] = {BNDBOX, "ymin", true},
    [XMAX] = {BNDBOX, "xmax", true},
    [YMAX] = {BNDBOX, "ymax", true},
};

enum { PLACES = sizeof places / sizeof places[0], LONGEST_TEXT = 255 };

struct reader {
    const char *path;
    XML_Parser parser;
    struct lam_voc_annotation *annotation;
    enum place place;
    int passed_over; /* levels below an element that means nothing */
    unsigned seen;   /* bits of the places that this object, or the annotation, has had */
    char text[LONGEST_TEXT + 1];
    size_t length;
    lam_status status;
};

#define FAIL(reader, ...) stop(reader, lam_fail(LAM_ERR_FORMAT, __VA_ARGS__))

/* The error text gets the file and the line in front. */
static void stop(struct reader *reader, lam_status status) {
    char where[1024];
    snprintf(where, sizeof where, "%s: line %lu", reader->path, XML_GetCurrentLineNumber(reader->parser));
    reader->status = lam_fail_in(status, where);
    XML_StopParser(reader->parser, XML_FALSE);
}

static struct lam_voc_object *current(const struct reader *reader) {
    return &reader->annotation->objects[reader->annotation->count - 1];
}

static void begin_object(struct reader *reader) {
    struct lam_voc_annotation *annotation = reader->annotation;
    if (annotation->count == annotation->capacity) {
        int capacity = annotation->capacity ? 2 * annotation->capacity : 16;
        struct lam_voc_object *objects =
            realloc(annotation->objects, (size_t)capacity * sizeof *annotation->objects);
        if (!objects) {
            stop(reader, lam_no_memory());
            return;
        }
        annotation->objects = objects;
        annotation->capacity = capacity;
    }
    annotation->objects[annotation->count++] =
        (struct lam_voc_object){.line = XML_GetCurrentLineNumber(reader->parser)};
    reader->seen &=
        ~(1u << NAME | 1u << DIFFICULT | 1u << BNDBOX | 1u << XMIN | 1u << YMIN | 1u << XMAX | 1u << YMAX);
}

static void XMLCALL begin_element(void *context, const XML_Char *name, const XML_Char **attributes) {
    (void)attributes;
    struct reader *reader = context;
    if (reader->status != LAM_OK) return;
    enum place place = OUTSIDE;
    for (int i = ANNOTATION; i < PLACES && !reader->passed_over; i++)
        if (places[i].parent == reader->place && !strcmp(places[i].name, name)) place = (enum place)i;
    if (place == OUTSIDE) {
        reader->passed_over++;
        if (reader->place == OUTSIDE)
            FAIL(reader, "the file begins with <%.40s>, not with <annotation>", name);
        return;
    }
    if (place != OBJECT && reader->seen & 1u << place) {
        FAIL(reader, "<%s> stands here a second time", name);
        return;
    }
    reader->place = place;
    reader->length = 0;
    if (place == OBJECT) begin_object(reader);
    reader->seen |= 1u << place;
}

static void XMLCALL add_text(void *context, const XML_Char *text, int length) {
    struct reader *reader = context;
    if (reader->status != LAM_OK || reader->passed_over || !places[reader->place].has_text) return;
    if (reader->length + (size_t)length > LONGEST_TEXT) {
        FAIL(reader, "<%s> has more than %d bytes of text", places[reader->place].name, LONGEST_TEXT);
        return;
    }
    memcpy(reader->text + reader->length, text, (size_t)length);
    reader->length += (size_t)length;
}

/* The text of an element without the blanks around it. */
static const char *bare_text(struct reader *reader) {
    static const char blanks[] = " \t\r\n";
    while (reader->length && strchr(blanks, reader->text[reader->length - 1])) reader->length--;
    reader->text[reader->length] = 0;
    return reader->text + strspn(reader->text, blanks);
}

/* Not what else strtod takes: NaN, infinity and hexadecimal. */
static bool parse_number(const char *text, double *value) {
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    char *end;
    *value = strtod(text, &end);
    return !*end && isfinite(*value);
}

static void end_number(struct reader *reader, const char *text) {
    const char *name = places[reader->place].name;
    double value = 0;
    if (!parse_number(text, &value)) {
        FAIL(reader, "%s is '%.40s', which is not a finite number", name, text);
    } else if (reader->place >= XMIN) {
        current(reader)->corners[reader->place - XMIN] = value;
    } else if (reader->place == DIFFICULT) {
        current(reader)->difficult = value == 1;
        if (value != 0 && value != 1) FAIL(reader, "difficult is '%.40s', not 0 or 1", text);
    } else if (!(value >= 0 && value <= 1 << 20 && value == floor(value))) {
        FAIL(reader, "the image's %s is '%.40s'", name, text);
    } else {
        *(reader->place == WIDTH ? &reader->annotation->width : &reader->annotation->height) = (int)value;
    }
}

static void end_name(struct reader *reader, const char *text) {
    current(reader)->name = strdup(text);
    if (!current(reader)->name)
        stop(reader, lam_no_memory());
    else if (!*text)
        FAIL(reader, "the name of the object is empty");
}

static void end_object(struct reader *reader) {
    static const enum place needed[] = {NAME, BNDBOX, XMIN, YMIN, XMAX, YMAX};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!(reader->seen & 1u << needed[i])) {
            FAIL(reader, "the object that ends here has no <%s>", places[needed[i]].name);
            return;
        }
}

static void XMLCALL end_element(void *context, const XML_Char *name) {
    (void)name;
    struct reader *reader = context;
    if (reader->status != LAM_OK) return;
    if (reader->passed_over) {
        reader->passed_over--;
        return;
    }
    const char *text = places[reader->place].has_text ? bare_text(reader) : NULL;
    if (reader->place == NAME)
        end_name(reader, text);
    else if (text && (*text || reader->place != DIFFICULT)) /* an empty <difficult/> is none */
        end_number(reader, text);
    else if (reader->place == OBJECT)
        end_object(reader);
    reader->place = places[reader->place].parent;
}

static void parse(struct reader *reader, const uint8_t *data, size_t size) {
    XML_SetUserData(reader->parser, reader);
    XML_SetElementHandler(reader->parser, begin_element, end_element);
    XML_SetCharacterDataHandler(reader->parser, add_text);
    if (XML_Parse(reader->parser, (const char *)data, (int)size, XML_TRUE) == XML_STATUS_OK ||
        reader->status != LAM_OK)
        return;
    enum XML_Error error = XML_GetErrorCode(reader->parser);
    if (error == XML_ERROR_NO_MEMORY)
        reader->status = lam_no_memory();
    else
        reader->status = lam_fail(LAM_ERR_FORMAT, "%s: line %lu, column %lu: %s", reader->path,
                                  XML_GetCurrentLineNumber(reader->parser),
                                  XML_GetCurrentColumnNumber(reader->parser) + 1, XML_ErrorString(error));
}

lam_status lam_voc_read(const char *path, struct lam_voc_annotation *annotation) {
    uint8_t *data;
    size_t size;
    LAM_TRY(lam_file_read(path, &data, &size));
    struct reader reader = {.path = path, .parser = XML_ParserCreate(NULL), .annotation = annotation};
    if (!reader.parser)
        reader.status = lam_no_memory();
    else if (size > INT_MAX)
        reader.status = lam_fail(LAM_ERR_FORMAT, "%s: has %zu bytes, which is no annotation", path, size);
    else
        parse(&reader, data, size);
    if (reader.parser) XML_ParserFree(reader.parser);
    free(data);
    if (reader.status != LAM_OK) lam_voc_free(annotation);
    return reader.status;
}

void lam_voc_free(struct lam_voc_annotation *annotation) {
    for (int i = 0; i < annotation->count; i++) free(annotation->objects[i].name);
    free(annotation->objects);
    *annotation = (struct lam_voc_annotation){0};
}
