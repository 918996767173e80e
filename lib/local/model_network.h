/* The network of a task whose units are those of a model of the zoo: the task adds its fields and what stands behind
 * features.
 *
 *     struct lam_network network = lam_model_network(model);
 *     network.fields = fields, network.field_count = 2;
 *     network.task = task, network.build_output = build_output, network.build_local_head = build_local_head;
 */
#ifndef LAM_LOCAL_MODEL_NETWORK_H
#define LAM_LOCAL_MODEL_NETWORK_H

#include "local/aux.h"
#include "nn/model.h"

/* The model must outlive the network. */
struct lam_network lam_model_network(struct lam_model *model);

#endif
