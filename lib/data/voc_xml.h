/* Inside lib/data: one PASCAL VOC annotation, an XML file. Not a public header. */
#ifndef LAM_DATA_VOC_XML_H
#define LAM_DATA_VOC_XML_H

#include <stdbool.h>

#include "base/status.h"

struct lam_voc_object {
    char *name;
    double corners[4]; /* xmin, ymin, xmax, ymax as in the file; finite */
    bool difficult;
    unsigned long line; /* on which it begins */
};

struct lam_voc_annotation {
    int width, height; /* of the image; 0 = not told */
    struct lam_voc_object *objects;
    int count, capacity;
};

/* Reads `path` into an annotation that is {0}. Errors name file, line and, of malformed XML, column. */
lam_status lam_voc_read(const char *path, struct lam_voc_annotation *annotation);
void lam_voc_free(struct lam_voc_annotation *annotation);

#endif
