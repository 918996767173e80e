/* Runs a graph's forward ops one after another through the reference, in doubles: no fusion, no plan, no
 * slices, no backward pass. What a compiled program computes is compared with it, and its gradients with
 * finite differences of it.
 *
 *     struct interpreter interpreter;
 *     interpreter_open(&interpreter, graph);            // before lam_graph_backward
 *     memcpy(interpreter.values[v], ...);               // inputs, parameters and buffers, by value
 *     double before = interpreter_run(&interpreter, loss, &run, false);
 *     interpreter_freeze(&interpreter);                 // detached values stay as they are now
 *     ... change parameters; interpreter_run(..., true) ...
 *     interpreter_close(&interpreter);
 */
#ifndef LAM_TESTS_INTERPRETER_H
#define LAM_TESTS_INTERPRETER_H

#include "graph/internal.h"

struct interpreter {
    struct lam_graph *graph; /* not owned */
    double **values;         /* by value number; NULL for aliases. Running statistics are written by a run */
    double **frozen;         /* what ops read instead where a gradient is stopped */
};

/* Returns false when out of memory. */
bool interpreter_open(struct interpreter *interpreter, struct lam_graph *graph);
void interpreter_close(struct interpreter *interpreter);

/* Returns the value of the scalar `loss`; NaN if an op has no reference. */
double interpreter_run(struct interpreter *interpreter, lam_value loss, const struct lam_run *run,
                       bool use_frozen);
void interpreter_freeze(struct interpreter *interpreter);

#endif
