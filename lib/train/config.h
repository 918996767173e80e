/* The options that all training programs share, and what they resolve to. Tasks add a table of their own.
 *
 *     struct lam_config config = {0};
 *     options.tables[0] = lam_config_table(&config);
 *     ... parse ...
 *     LAM_TRY(lam_config_check(&config));                  // combinations that make no sense, or not yet
 */
#ifndef LAM_TRAIN_CONFIG_H
#define LAM_TRAIN_CONFIG_H

#include "base/options.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "pipeline/pipeline.h"

struct lam_config {
    /* Data */
    char *data, *val;
    int64_t batch;
    int last_batch; /* enum lam_last_batch */
    int64_t loader_threads, prefetch;
    int on_bad; /* enum lam_on_bad */
    bool overfit_batch;
    /* Model and method */
    char *model;
    int method, schedule;
    int64_t blocks, queue, micro_batches, glcan_depth, ema_lag;
    char *partition;
    double ema_momentum;
    int glcan_global;   /* enum lam_glcan_global */
    int glcan_branches; /* enum lam_glcan_branches */
    bool glcan_fixed_mix;
    /* Training */
    int64_t epochs, max_steps, seed;
    int precision; /* enum lam_precision */
    /* Optimizer */
    int optimizer;
    double learning_rate, momentum, beta1, beta2, eps, weight_decay, clip_norm, ema;
    bool nesterov;
    int lr_schedule;
    double lr_end, lr_gamma, warmup_epochs;
    char *milestones;
    /* Devices */
    char *devices, *memory_limit, *fit_memory;
    int64_t threads;
    bool no_cuda_graph, recompute;
    int transport; /* enum lam_transport_choice */
    int tuning;    /* enum lam_tuning_mode: FIXED or MEASURE */
    /* Run */
    char *out, *recipe;
    bool resume, quiet, help, version;
    int64_t checkpoint_epochs, checkpoint_steps, eval_epochs, log_steps, samples_shown;
};

/* config->method; config->schedule is an enum lam_pipeline_schedule */
enum lam_method { LAM_METHOD_NONE, LAM_METHOD_DGL, LAM_METHOD_GLCAN };
enum lam_glcan_global { LAM_GLCAN_STAGES, LAM_GLCAN_NEXT };
enum lam_glcan_branches { LAM_GLCAN_BOTH, LAM_GLCAN_LB, LAM_GLCAN_EMA, LAM_GLCAN_NEITHER };
const char *lam_method_name(int method);

enum lam_precision { LAM_PRECISION_F32, LAM_PRECISION_BF16, LAM_PRECISION_TF32 };
const char *lam_precision_name(int precision);
/* How the devices that it names are to be used. */
struct lam_device_modes lam_config_modes(const struct lam_config *config);

enum lam_transport_choice { LAM_TRANSPORT_THREADS, LAM_TRANSPORT_MPI };
enum lam_last_batch { LAM_LAST_BATCH_KEEP, LAM_LAST_BATCH_DROP };
enum lam_on_bad { LAM_ON_BAD_STOP, LAM_ON_BAD_SKIP };

struct lam_option_table lam_config_table(struct lam_config *config);

/* Refuses, with one clear line, what contradicts itself and what this version cannot do yet. */
lam_status lam_config_check(const struct lam_config *config);

/* The optimizer and the schedule that it asks for; steps_per_epoch turns epochs into steps. */
struct lam_optimizer_options lam_config_optimizer(const struct lam_config *config);
lam_status lam_config_schedule(const struct lam_config *config, uint64_t steps_per_epoch,
                               struct lam_schedule *schedule);

/* Whether the run is to be cut into as many blocks as fit_memory asks for. A resumed run has its blocks already: there fit_memory
 * is the limit and no more. */
bool lam_config_fits(const struct lam_config *config);

/* Device names and their limits in bytes (0 = none), from devices, threads, memory_limit and fit_memory. Free each name
 * and both arrays with free(). */
lam_status lam_config_devices(const struct lam_config *config, char ***names, size_t **limits, int *count);
void lam_config_free_devices(char **names, size_t *limits, int count);
/* The same where only one device is of use: more are refused. free() the name. */
lam_status lam_config_one_device(const struct lam_config *config, char **name, size_t *limit);

#endif
