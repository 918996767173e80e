/* What average_precision.c (matching, image by image) leaves for average_precision_curve.c (sums over the set). */
#ifndef LAM_TASKS_DETECT_AVERAGE_PRECISION_INTERNAL_H
#define LAM_TASKS_DETECT_AVERAGE_PRECISION_INTERNAL_H

#include "tasks/detect/average_precision.h"

enum { THRESHOLDS = 10, AREAS = 4, MOST_DETECTIONS = 100 };
enum { AREA_ALL, AREA_SMALL, AREA_MEDIUM, AREA_LARGE };

enum outcome { OUTCOME_WRONG, OUTCOME_RIGHT, OUTCOME_IGNORED };

/* A detection after matching. One that is neither right nor ignored is wrong. */
struct judged {
    float score;
    uint32_t place; /* in the order of adding, within its class */
    /* By range of sizes, a bit for each threshold of IoU; empty from rank MOST_DETECTIONS on. */
    uint16_t right[AREAS], ignored[AREAS];
    uint8_t rank; /* in its image and class, by score; at most MOST_DETECTIONS */
    uint8_t voc;  /* enum outcome */
};

struct class_record {
    struct judged *judged;
    int64_t count, capacity, boxes[AREAS], voc_boxes, images;
    bool sorted; /* by score */
};

struct image_scratch;

struct detect_ap {
    int classes;
    int64_t images;
    struct class_record *of_class;
    struct image_scratch *scratch; /* average_precision.c's own */
};

#endif
