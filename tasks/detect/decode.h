/* From the network's outputs to the objects found in an image.
 *
 *     struct detect_decode_options options = DETECT_DECODE_DEFAULTS;
 *     struct detect_list found = {0};
 *     LAM_TRY(detect_decode(&options, &anchors, logits, deltas, classes, &view, &found));   // one image
 *     for (int i = 0; i < found.count; i++) ... found.items[i].corners ...   // pixels of the original image
 *     detect_list_free(&found);
 *
 * No shared state: any thread, each with its own list.
 */
#ifndef LAM_TASKS_DETECT_DECODE_H
#define LAM_TASKS_DETECT_DECODE_H

#include "tasks/detect/anchors.h"
#include "tasks/detect/found.h"
#include "tasks/detect/view.h"

struct detect_list { /* starts as {0}; its memory is reused */
    struct detect_found *items;
    int count, room;
};
void detect_list_free(struct detect_list *list);
lam_status detect_list_add(struct detect_list *list, const struct detect_found *item);

/* Greedy non-maximum suppression within each class: the best scores first (equal ones in the order given),
 * whatever overlaps a kept one of its class by an IoU above `iou` is dropped; stops at `max_kept` (0: no
 * limit). The kept ones are left in the list, by falling score. O(n log n + n * kept). */
lam_status detect_nms(struct detect_list *list, float iou, int max_kept);

struct detect_decode_options {
    float conf;    /* least score */
    float iou;     /* of detect_nms */
    int top_level; /* candidates of one level before suppression; 0 = no limit */
    int top;       /* candidates of an image; 0 = no limit */
    int max_det;   /* objects of an image; 0 = no limit */
};
#define DETECT_DECODE_DEFAULTS                                                                               \
    { .conf = 0.05f, .iou = 0.5f, .top_level = 1000, .max_det = 100 }

/* From one image's class logits [A][classes] and deltas [A][4], in the order of the anchors, to objects in
 * the original image: score = sigmoid(logit), an anchor may give an object of each class; boxes are clipped
 * to the image. Logits and deltas that are not finite give none. *found is overwritten; on failure it is
 * empty. */
lam_status detect_decode(const struct detect_decode_options *options, const struct detect_anchors *anchors,
                         const float *logits, const float *deltas, int classes,
                         const struct detect_view *view, struct detect_list *found);

#endif
