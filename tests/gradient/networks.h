/* Small networks for the gradient tests: one for each family of layers, and random ones. */
#ifndef LAM_TESTS_NETWORKS_H
#define LAM_TESTS_NETWORKS_H

#include "graph/graph.h"

/* Inputs are filled by their names: "label..." with classes below NETWORK_CLASSES, "probability..." in 0..1,
 * "sign..." with 1, 0 and -1, "class..." with labels of rows from -2 on, "weight..." with numbers half of which are 0, "corner..."
 * with boxes, "distribution..." with rows that sum to one, all others with normal numbers. */
enum { NETWORK_CLASSES = 5 };

struct network {
    const char *name;
    int64_t batch;
    lam_value (*build)(struct lam_graph *graph, uint64_t seed); /* returns the loss */
    uint64_t seed;                                              /* for random ones */
};

extern const struct network networks[];
extern const int network_count;

#endif
