/* The table of the options that all training programs share. To add one: a field in struct lam_config and a
 * row here; parsing, help, recipes, the saved config and the reference follow. */
#include "train/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "graph/program.h"

#define ROW(option, sort, field, preset, ...)                                                                \
    {                                                                                                        \
        .name = option, .type = LAM_OPTION_##sort, .offset = offsetof(struct lam_config, field),             \
        .fallback = preset, __VA_ARGS__                                                                      \
    }
#define RANGE(low, high) .min = low, .max = high

static const char *const last_batches[] = {"keep", "drop", NULL};
static const char *const on_bads[] = {"stop", "skip", NULL};
/* Defaults of options that go with some schedules or methods alone: with others, anything else is refused or said to be in vain. */
#define USUAL_QUEUE         2
#define USUAL_MICRO_BATCHES 4
#define USUAL_EMA_MOMENTUM  0.995
#define TEXT_OF(x)          #x
#define TEXT(x)             TEXT_OF(x)

static const char *const methods[] = {"none", "dgl", "glcan", NULL};
static const char *const globals[] = {"stages", "next", NULL};
static const char *const branches[] = {"both", "lb", "ema", "neither", NULL};
static const char *const pipelines[] = {"sequential", "ppll", "gpipe", "1f1b", NULL};
static const char *const precisions[] = {"f32", "bf16", "tf32", NULL};
static const char *const transports[] = {"threads", "mpi", NULL};
static const char *const tunings[] = {"fixed", "measure", NULL};

static const char *const optimizers[] = {
#define NAME(suffix, name) name,
    LAM_OPTIMIZER_TABLE(NAME) NULL};
static const char *const rate_schedules[] = {LAM_SCHEDULE_TABLE(NAME) NULL};
#undef NAME

static const struct lam_option table[] = {
#define GROUP .group = "Data"
    /* Resumable: data may lie elsewhere by now; that it is the same is checked by its content. */
    ROW("data", TEXT, data, "shapes", GROUP, .placeholder = "FORMAT[:PATH]", .flags = LAM_OPTION_RESUMABLE,
        .help = "what to train on; the formats stand at the end of --help and in docs/DATASETS.md"),
    ROW("val", TEXT, val, "", GROUP, .placeholder = "FORMAT:PATH", .flags = LAM_OPTION_RESUMABLE,
        .help = "what to validate on; else the format's own test or validation part"),
    ROW("batch", INT, batch, "128", GROUP, RANGE(1, 65536), .help = "samples in a step"),
    ROW("last-batch", CHOICE, last_batch, "keep", GROUP, .choices = last_batches,
        .help = "what becomes of an epoch's uneven last batch"),
    ROW("loader-threads", INT, loader_threads, "2", GROUP, RANGE(1, 256),
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_MACHINE, .help = "threads that prepare batches"),
    ROW("prefetch", INT, prefetch, "3", GROUP, RANGE(2, 1024),
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_MACHINE, .help = "batches prepared ahead"),
    ROW("on-bad", CHOICE, on_bad, "stop", GROUP, .choices = on_bads,
        .help = "at a sample that cannot be read: stop, or leave it out"),
    ROW("overfit-batch", BOOL, overfit_batch, "no", GROUP,
        .help = "train and validate on the first batch alone, as it is: a check that learning works"),
#undef GROUP
#define GROUP .group = "Model and method"
    ROW("model", TEXT, model, "", GROUP, .placeholder = "NAME", .help = "network; required"),
    ROW("method", CHOICE, method, "none", GROUP, .choices = methods,
        .help = "auxiliary networks; none = end to end"),
    ROW("blocks", INT, blocks, "1", GROUP, RANGE(1, 1024), .help = "gradient-isolated blocks"),
    ROW("schedule", CHOICE, schedule, "sequential", GROUP, .choices = pipelines,
        .help = "how blocks take turns"),
    ROW("partition", TEXT, partition, "profiled", GROUP, .placeholder = "profiled|paper|uniform|CUTS",
        .help = "where blocks are cut"),
    ROW("queue", INT, queue, TEXT(USUAL_QUEUE), GROUP, RANGE(1, 1024),
        .help = "ppll: batches handed over to a device and not finished"),
    ROW("micro-batches", INT, micro_batches, TEXT(USUAL_MICRO_BATCHES), GROUP, RANGE(1, 256),
        .help = "gpipe, 1f1b: parts of a batch; batch norm sees each alone"),
    ROW("glcan-global", CHOICE, glcan_global, "stages", GROUP, .choices = globals,
        .help =
            "glcan: what the global part copies: the first units of later stages, or the next block's units"),
    ROW("glcan-depth", INT, glcan_depth, "0", GROUP, RANGE(0, 16),
        .help = "glcan: units of the global part; 0 = the usual: stages 2 (transformers 1), next 1"),
    ROW("glcan-branches", CHOICE, glcan_branches, "both", GROUP, .choices = branches,
        .help = "--glcan-global next: trained branch, its EMA twin, or both; neither = dgl"),
    ROW("glcan-fixed-mix", BOOL, glcan_fixed_mix, "no", GROUP,
        .help = "--glcan-global next: the weight of the two branches is not trained"),
    ROW("ema-momentum", NUMBER, ema_momentum, TEXT(USUAL_EMA_MOMENTUM), GROUP, RANGE(0, 0.9999999),
        .help = "--glcan-global next: of the twins of the next block's units, per step"),
    ROW("ema-lag", INT, ema_lag, "0", GROUP, RANGE(0, 1024),
        .help = "--glcan-global next: how many updates older the twins' source is; gives a pipeline slack"),
#undef GROUP
#define GROUP .group = "Training"
    ROW("epochs", INT, epochs, "10", GROUP, RANGE(1, 1000000), .flags = LAM_OPTION_RESUMABLE,
        .help = "passes over the data"),
    ROW("max-steps", INT, max_steps, "0", GROUP, RANGE(0, 1e15), .flags = LAM_OPTION_RESUMABLE,
        .help = "end after so many steps; 0 = when the epochs are done"),
    ROW("precision", CHOICE, precision, "f32", GROUP, .choices = precisions,
        .help = "of activations; tf32: f32 in memory, GPUs round what they multiply to TF32"),
    ROW("seed", INT, seed, "1", GROUP, RANGE(0, 9.2e18), .help = "names all random numbers of the run"),
#undef GROUP
#define GROUP .group = "Optimizer"
    ROW("optimizer", CHOICE, optimizer, "sgd", GROUP, .choices = optimizers, .help = "update rule"),
    ROW("lr", NUMBER, learning_rate, "0", GROUP, RANGE(0, 1000),
        .help = "learning rate; 0 = the usual one: sgd 0.1, adam and adamw 0.001"),
    ROW("momentum", NUMBER, momentum, "0.9", GROUP, RANGE(0, 0.999999), .help = "sgd"),
    ROW("nesterov", BOOL, nesterov, "no", GROUP, .help = "sgd: Nesterov's form of momentum"),
    ROW("beta1", NUMBER, beta1, "0.9", GROUP, RANGE(0, 0.999999), .help = "adam, adamw"),
    ROW("beta2", NUMBER, beta2, "0.999", GROUP, RANGE(0, 0.99999999), .help = "adam, adamw"),
    ROW("eps", NUMBER, eps, "1e-8", GROUP, RANGE(1e-30, 1), .help = "adam, adamw"),
    ROW("weight-decay", NUMBER, weight_decay, "0.0001", GROUP, RANGE(0, 10),
        .help = "L2 in the gradient (sgd, adam) or decoupled (adamw)"),
    ROW("clip-norm", NUMBER, clip_norm, "0", GROUP, RANGE(0, 1e30),
        .help = "bound of the gradient's norm; 0 = none"),
    ROW("ema", NUMBER, ema, "0", GROUP, RANGE(0, 0.9999999),
        .help = "decay of the weights' average, which evaluation then uses; 0 = off"),
    ROW("lr-schedule", CHOICE, lr_schedule, "cosine", GROUP, .choices = rate_schedules,
        .help = "course of the learning rate"),
    ROW("warmup-epochs", NUMBER, warmup_epochs, "0", GROUP, RANGE(0, 1e6),
        .help = "linear rise of the learning rate at the start"),
    ROW("lr-end", NUMBER, lr_end, "0", GROUP, RANGE(0, 1),
        .help = "linear, cosine: last learning rate as a share of --lr"),
    ROW("milestones", TEXT, milestones, "", GROUP, .placeholder = "EPOCH,...",
        .help = "step: epochs at which the rate is multiplied by --lr-gamma"),
    ROW("lr-gamma", NUMBER, lr_gamma, "0.1", GROUP, RANGE(0, 1), .help = "step: factor at a milestone"),
#undef GROUP
#define GROUP .group = "Devices"
    ROW("devices", TEXT, devices, "auto", GROUP, .placeholder = "NAME,...",
        .help = "cpu:0 is one core, cpu:0-3 one device of four, cuda:0 a GPU; auto = GPUs if there are any, "
                "else all cores"),
    ROW("no-cuda-graph", BOOL, no_cuda_graph, "no", GROUP,
        .help = "GPUs: launch every kernel by itself, do not record steps as CUDA graphs"),
    ROW("recompute", BOOL, recompute, "yes", GROUP,
        .help =
            "compute cheap values again in the backward pass; without, they are kept: up to twice the memory "
            "and, on GPUs, less time"),
    ROW("threads", INT, threads, "0", GROUP, RANGE(0, 4096),
        .help = "cores of the device that --devices auto gives; 0 = all"),
    ROW("memory-limit", TEXT, memory_limit, "", GROUP, .placeholder = "BYTES,...",
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_MACHINE,
        .help = "most memory per device (512M, 1.5GiB); none = no limit"),
    ROW("transport", CHOICE, transport, "threads", GROUP, .choices = transports,
        .flags = LAM_OPTION_RESUMABLE | LAM_OPTION_MACHINE,
        .help = "ppll: devices are threads of one process, or ranks that mpirun starts, one for each"),
    ROW("fit-memory", TEXT, fit_memory, "", GROUP, .placeholder = "BYTES,...", .flags = LAM_OPTION_RESUMABLE,
        .help = "cut into as many blocks as it takes to stay within so much memory per device; needs a local "
                "--method, and stands for --blocks, --partition and --memory-limit"),
    ROW("tuning", CHOICE, tuning, "measure", GROUP, .choices = tunings,
        .help = "how kernels are chosen: by rules of shape, or by trying them once"),
#undef GROUP
#define GROUP .group = "Run"
    ROW("out", TEXT, out, "", GROUP, .placeholder = "FOLDER", .flags = LAM_OPTION_UNSAVED,
        .help = "folder of the run; else the first free runs/MODEL-N"),
    ROW("resume", BOOL, resume, "no", GROUP, .flags = LAM_OPTION_UNSAVED,
        .help = "go on with the run in --out, from its last checkpoint"),
    ROW("recipe", TEXT, recipe, "", GROUP, .placeholder = "FILE",
        .flags = LAM_OPTION_UNSAVED | LAM_OPTION_RECIPE,
        .help = "options from an INI file; what comes later on the command line wins"),
    ROW("checkpoint-every", INT, checkpoint_epochs, "1", GROUP, RANGE(1, 1e6), .flags = LAM_OPTION_RESUMABLE,
        .help = "epochs between checkpoints"),
    ROW("checkpoint-steps", INT, checkpoint_steps, "0", GROUP, RANGE(0, 1e15), .flags = LAM_OPTION_RESUMABLE,
        .help = "also a checkpoint after every so many steps; 0 = none"),
    ROW("eval-every", INT, eval_epochs, "1", GROUP, RANGE(1, 1e6), .flags = LAM_OPTION_RESUMABLE,
        .help = "epochs between evaluations"),
    ROW("log-every", INT, log_steps, "10", GROUP, RANGE(1, 1e9), .flags = LAM_OPTION_RESUMABLE,
        .help = "steps between lines in metrics.jsonl"),
    ROW("show", INT, samples_shown, "32", GROUP, RANGE(0, 1024), .flags = LAM_OPTION_RESUMABLE,
        .help = "validation samples in the prediction pictures; 0 = none"),
    ROW("quiet", BOOL, quiet, "no", GROUP, .flags = LAM_OPTION_UNSAVED, .help = "only errors and the result"),
    ROW("version", BOOL, version, "no", GROUP, .flags = LAM_OPTION_UNSAVED, .help = "print the version"),
    ROW("help", BOOL, help, "no", GROUP, .flags = LAM_OPTION_UNSAVED, .help = "print this text"),
#undef GROUP
};

struct lam_option_table lam_config_table(struct lam_config *config) {
    return (struct lam_option_table){table, (int)(sizeof table / sizeof *table), config};
}

/* ---- what this version refuses ---- */

const char *lam_method_name(int method) {
    return methods[method];
}

static bool end_to_end(const struct lam_config *config) {
    return config->schedule == LAM_PIPELINE_GPIPE || config->schedule == LAM_PIPELINE_1F1B;
}

static bool is_list(const char *partition) {
    return strcmp(partition, "profiled") != 0 && strcmp(partition, "paper") != 0 &&
           strcmp(partition, "uniform") != 0;
}

bool lam_config_fits(const struct lam_config *config) {
    return *config->fit_memory && !config->resume;
}

/* What --fit-memory finds out cannot be given beside it. */
static lam_status check_fit(const struct lam_config *config) {
    if (!lam_config_fits(config)) return LAM_OK;
    if (config->blocks != 1)
        return lam_fail(LAM_ERR_INVALID,
                        "--fit-memory finds how many blocks there must be; leave --blocks %lld out, or use "
                        "--memory-limit",
                        (long long)config->blocks);
    if (strcmp(config->partition, "profiled") != 0)
        return lam_fail(LAM_ERR_INVALID,
                        "--fit-memory finds where blocks are cut; leave --partition %.60s out, or use "
                        "--memory-limit",
                        config->partition);
    if (*config->memory_limit)
        return lam_fail(LAM_ERR_INVALID, "--fit-memory is the memory limit, too; leave --memory-limit out");
    if (end_to_end(config))
        return lam_fail(LAM_ERR_INVALID,
                        "--fit-memory cuts for local learning, --schedule %s trains end to end; use "
                        "--schedule sequential or ppll",
                        pipelines[config->schedule]);
    return LAM_OK;
}

/* Methods and schedules that do not go together, with what would. */
static lam_status check_local_learning(const struct lam_config *config) {
    const char *schedule = pipelines[config->schedule];
    bool glcan = config->method == LAM_METHOD_GLCAN;
    bool twins_asked = config->glcan_branches || config->glcan_fixed_mix || config->ema_lag ||
                       config->ema_momentum != USUAL_EMA_MOMENTUM;
    if (twins_asked && !(glcan && config->glcan_global == LAM_GLCAN_NEXT))
        return lam_fail(LAM_ERR_INVALID,
                        "--glcan-branches, --glcan-fixed-mix, --ema-momentum and --ema-lag go with --method "
                        "glcan --glcan-global next");
    if ((config->glcan_global != LAM_GLCAN_STAGES || config->glcan_depth) && !glcan)
        return lam_fail(LAM_ERR_INVALID, "--glcan-global and --glcan-depth go with --method glcan");
    if (config->queue != USUAL_QUEUE && config->schedule != LAM_PIPELINE_PPLL)
        lam_log(LAM_LOG_NOTICE, "--queue %lld: has no effect under --schedule %s, only under ppll",
                (long long)config->queue, schedule);
    if (config->micro_batches != USUAL_MICRO_BATCHES && !end_to_end(config))
        lam_log(LAM_LOG_NOTICE,
                "--micro-batches %lld: has no effect under --schedule %s, only under gpipe and 1f1b",
                (long long)config->micro_batches, schedule);
    if (end_to_end(config) && config->method != LAM_METHOD_NONE)
        return lam_fail(LAM_ERR_INVALID,
                        "--schedule %s trains end to end; use --method none, or --schedule ppll", schedule);
    if (end_to_end(config) && config->batch % config->micro_batches != 0)
        return lam_fail(LAM_ERR_INVALID, "--micro-batches %lld do not divide --batch %lld",
                        (long long)config->micro_batches, (long long)config->batch);
    if (!end_to_end(config) && config->blocks > 1 && config->method == LAM_METHOD_NONE)
        return lam_fail(
            LAM_ERR_INVALID,
            "--blocks %lld needs something for each to learn from: --method dgl or glcan; or --schedule "
            "gpipe or 1f1b, which train end to end",
            (long long)config->blocks);
    if (config->transport == LAM_TRANSPORT_MPI && *config->fit_memory)
        return lam_fail(
            LAM_ERR_INVALID,
            "--transport mpi: does not go with --fit-memory; give --blocks and --partition, as they "
            "stand in the config.ini of a run that was cut to fit");
    if (config->transport == LAM_TRANSPORT_MPI && config->schedule != LAM_PIPELINE_PPLL)
        return lam_fail(LAM_ERR_INVALID, "--transport mpi: goes with --schedule ppll, not with %s", schedule);
    if (config->transport == LAM_TRANSPORT_MPI && config->blocks < 2)
        return lam_fail(LAM_ERR_INVALID, "--transport mpi: one block needs one process; use more --blocks");
    LAM_TRY(check_fit(config));
    if (config->blocks == 1 && is_list(config->partition))
        return lam_fail(LAM_ERR_INVALID, "--partition %.60s: say also how many --blocks that makes",
                        config->partition);
    return LAM_OK;
}

/* What only one kind of device does. */
static lam_status check_kinds(const struct lam_config *config, char *const *names, int count) {
    for (int d = 0; d < count; d++) {
        bool cpu = !strncmp(names[d], "cpu:", 4);
        if (cpu && config->precision == LAM_PRECISION_TF32)
            return lam_fail(LAM_ERR_INVALID,
                            "--precision tf32: %s has no TF32; say f32 or bf16, or name cuda devices",
                            names[d]);
    }
    return LAM_OK;
}

/* "cpu:2", "cpu:0-3", "cuda:1": what it is of and which numbers. A name of another form is refused where it is opened. */
static bool numbers_of(const char *name, char kind[8], int *first, int *last) {
    int used = 0;
    if (sscanf(name, "%7[a-z]:%d%n", kind, first, &used) != 2) return false;
    *last = *first;
    return name[used] == 0 || sscanf(name + used, "-%d", last) == 1;
}

/* No core and no GPU in two devices of a process. */
static lam_status check_apart(char *const *names, int count) {
    for (int a = 0; a < count; a++)
        for (int b = 0; b < a; b++) {
            char kinds[2][8];
            int first[2], last[2];
            if (!numbers_of(names[b], kinds[0], &first[0], &last[0]) ||
                !numbers_of(names[a], kinds[1], &first[1], &last[1]) || strcmp(kinds[0], kinds[1]) != 0 ||
                first[0] > last[1] || first[1] > last[0])
                continue;
            return lam_fail(
                LAM_ERR_INVALID,
                "--devices: %s and %s are not apart; give each its own (cores that this machine does not "
                "have are shared, so cpu:0 to cpu:%d will do anywhere)",
                names[b], names[a], count - 1);
        }
    return LAM_OK;
}

/* Each device has a block at least; end to end exactly one. */
static lam_status check_devices(const struct lam_config *config) {
    char **names;
    size_t *limits;
    int count;
    LAM_TRY(lam_config_devices(config, &names, &limits, &count));
    lam_status status = check_kinds(config, names, count);
    if (status == LAM_OK && config->transport != LAM_TRANSPORT_MPI) status = check_apart(names, count);
    lam_config_free_devices(names, limits, count);
    LAM_TRY(status);
    if (lam_config_fits(config) && config->method != LAM_METHOD_NONE) return LAM_OK; /* blocks come later */
    if (count > config->blocks && config->blocks == 1)
        return lam_fail(
            LAM_ERR_INVALID,
            "--devices: one block trains on one device; write cpu:0-%d for %d cores, or use --blocks %d",
            count - 1, count, count);
    if (count > config->blocks)
        return lam_fail(LAM_ERR_INVALID,
                        "--devices: %d devices for %lld blocks; use more --blocks or fewer devices", count,
                        (long long)config->blocks);
    if (end_to_end(config) && count != config->blocks)
        return lam_fail(LAM_ERR_INVALID,
                        "--schedule %s has one block per device; there are %lld blocks and %d devices",
                        pipelines[config->schedule], (long long)config->blocks, count);
    return LAM_OK;
}

lam_status lam_config_check(const struct lam_config *config) {
    if (config->resume && !*config->out)
        return lam_fail(LAM_ERR_INVALID, "--resume needs --out FOLDER, the run to go on with");
    LAM_TRY(check_local_learning(config));
    if (!*config->model)
        return lam_fail(LAM_ERR_INVALID,
                        "--model is missing; --help lists the networks; or give a --recipe FILE");
    if (config->threads && strcmp(config->devices, "auto") != 0)
        return lam_fail(LAM_ERR_INVALID,
                        "--threads: --devices %.100s says how many cores there are; use one of them",
                        config->devices);
    struct lam_schedule schedule;
    LAM_TRY(lam_config_schedule(config, 1000, &schedule));
    return check_devices(config);
}

/* ---- what options resolve to ---- */

const char *lam_precision_name(int precision) {
    return precisions[precision];
}

struct lam_device_modes lam_config_modes(const struct lam_config *config) {
    return (struct lam_device_modes){.tf32 = config->precision == LAM_PRECISION_TF32,
                                     .launch_each = config->no_cuda_graph,
                                     .keep_all = !config->recompute};
}

struct lam_optimizer_options lam_config_optimizer(const struct lam_config *config) {
    struct lam_optimizer_options options =
        lam_optimizer_default_options((enum lam_optimizer_kind)config->optimizer);
    options.momentum = (float)config->momentum;
    options.nesterov = config->nesterov;
    options.beta1 = (float)config->beta1;
    options.beta2 = (float)config->beta2;
    options.eps = (float)config->eps;
    options.weight_decay = (float)config->weight_decay;
    options.clip_norm = (float)config->clip_norm;
    options.ema_decay = (float)config->ema;
    return options;
}

static lam_status parse_milestones(const char *text, uint64_t steps_per_epoch,
                                   struct lam_schedule *schedule) {
    enum { MOST = sizeof schedule->milestone / sizeof *schedule->milestone };
    int count = 0;
    double before = 0;
    while (*text) {
        char *end;
        double epoch = strtod(text, &end);
        if (end == text || (*end && *end != ',') || !(epoch > before) || epoch > 1e9)
            return lam_fail(LAM_ERR_INVALID,
                            "--milestones: '%.60s' is not an ascending list of epochs: 60,80", text);
        if (count == MOST) return lam_fail(LAM_ERR_INVALID, "--milestones: more than %d of them", (int)MOST);
        schedule->milestone[count++] = (uint64_t)(epoch * (double)steps_per_epoch + 0.5);
        before = epoch;
        text = end + (*end == ',');
    }
    return LAM_OK;
}

lam_status lam_config_schedule(const struct lam_config *config, uint64_t steps_per_epoch,
                               struct lam_schedule *schedule) {
    double rate = config->learning_rate;
    if (rate <= 0) rate = config->optimizer == LAM_OPTIMIZER_SGD ? 0.1 : 0.001;
    struct lam_schedule made = {
        .kind = (enum lam_schedule_kind)config->lr_schedule,
        .base = (float)rate,
        .steps = (uint64_t)config->epochs * steps_per_epoch,
        .warmup = (uint64_t)(config->warmup_epochs * (double)steps_per_epoch + 0.5),
        .end = (float)config->lr_end,
        .gamma = (float)config->lr_gamma,
    };
    if (config->max_steps && (uint64_t)config->max_steps < made.steps)
        made.steps = (uint64_t)config->max_steps;
    LAM_TRY(parse_milestones(config->milestones, steps_per_epoch, &made));
    if (made.kind == LAM_SCHEDULE_STEP && made.milestone[0] == 0)
        return lam_fail(LAM_ERR_INVALID, "--lr-schedule step needs --milestones EPOCH,...");
    *schedule = made;
    return LAM_OK;
}

static lam_status parse_limits(const char *option, const char *text, size_t *limits, int count) {
    char copy[1024];
    if (strlen(text) >= sizeof copy) return lam_fail(LAM_ERR_INVALID, "%s: is too long", option);
    strcpy(copy, text);
    int given = 0;
    for (char *rest = copy, *part; *text && (part = strsep(&rest, ",")); given++) {
        uint64_t bytes;
        lam_status status = lam_bytes_parse(part, &bytes);
        if (status != LAM_OK) return lam_fail_in(status, option);
        if (given < count) limits[given] = (size_t)bytes;
    }
    if (given > 1 && given != count)
        return lam_fail(LAM_ERR_INVALID, "%s: %d limits for %d devices", option, given, count);
    for (int i = 1; given == 1 && i < count; i++) limits[i] = limits[0];
    return LAM_OK;
}

static lam_status find_limits(const struct lam_config *config, size_t *limits, int count) {
    if (!*config->fit_memory) return parse_limits("--memory-limit", config->memory_limit, limits, count);
    LAM_TRY(parse_limits("--fit-memory", config->fit_memory, limits, count));
    for (int i = 0; i < count; i++)
        if (limits[i] == 0) return lam_fail(LAM_ERR_INVALID, "--fit-memory: nothing fits 0 bytes");
    return LAM_OK;
}

void lam_config_free_devices(char **names, size_t *limits, int count) {
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    free(limits);
}

/* As many GPUs as there are blocks that could run side by side. */
static lam_status gpu_names(int devices, char ***names, int *count) {
    int gpus = lam_device_gpu_count();
    if (devices > gpus) devices = gpus;
    char list[1024];
    size_t used = 0;
    for (int d = 0; d < devices && used < sizeof list - 16; d++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%scuda:%d", d ? "," : "", d);
    lam_log(LAM_LOG_NOTICE, "--devices auto takes %s, of %d GPU%s; name cpu devices to use cores", list, gpus,
            gpus == 1 ? "" : "s");
    lam_config_free_devices(*names, NULL, *count);
    return lam_device_list_parse(list, names, count);
}

/* auto: GPUs, for a pipeline as many as there are blocks; or all cores as one device, for a pipeline as one device per
 * block, or as many as there are cores. */
static lam_status device_names(const struct lam_config *config, const char *text, char ***names, int *count) {
    LAM_TRY(lam_device_list_parse(text, names, count));
    int first, last;
    bool fits = lam_config_fits(config) && config->method != LAM_METHOD_NONE;
    bool pipeline = config->schedule != LAM_PIPELINE_SEQUENTIAL && (config->blocks > 1 || fits);
    if (*count != 1 || strcmp(config->devices, "auto") != 0) return LAM_OK;
    if (!strcmp((*names)[0], "cuda:0")) return gpu_names(pipeline ? (int)config->blocks : 1, names, count);
    if (!pipeline) return LAM_OK;
    if (sscanf((*names)[0], "cpu:%d-%d", &first, &last) != 2) return LAM_OK;
    int cores = last - first + 1, devices = !fits && config->blocks < cores ? (int)config->blocks : cores;
    char list[4096];
    size_t used = 0;
    for (int d = 0; d < devices && used < sizeof list; d++) {
        int begin = first + cores * d / devices, end = first + cores * (d + 1) / devices - 1;
        used += (size_t)snprintf(list + used, sizeof list - used, begin < end ? "%scpu:%d-%d" : "%scpu:%d",
                                 d ? "," : "", begin, end);
    }
    free((*names)[0]);
    free(*names);
    return lam_device_list_parse(list, names, count);
}

lam_status lam_config_devices(const struct lam_config *config, char ***names, size_t **limits, int *count) {
    char cores[32];
    const char *text = config->devices;
    if (config->threads == 1) text = "cpu:0";
    if (config->threads > 1) {
        snprintf(cores, sizeof cores, "cpu:0-%lld", (long long)config->threads - 1);
        text = cores;
    }
    LAM_TRY(device_names(config, text, names, count));
    *limits = calloc((size_t)*count, sizeof **limits);
    lam_status status = *limits ? find_limits(config, *limits, *count) : lam_no_memory();
    if (status == LAM_OK) return LAM_OK;
    lam_config_free_devices(*names, *limits, *count);
    return status;
}

lam_status lam_config_one_device(const struct lam_config *config, char **name, size_t *limit) {
    char **names;
    size_t *limits;
    int count;
    LAM_TRY(lam_config_devices(config, &names, &limits, &count));
    bool one = count == 1;
    if (one) *name = names[0];
    if (one) *limit = limits[0];
    for (int i = one; i < count; i++) free(names[i]);
    free(names);
    free(limits);
    if (one) return LAM_OK;
    return lam_fail(LAM_ERR_UNSUPPORTED,
                    "--devices names %d devices, but one block takes one; cpu:0-%d is one device of %d cores",
                    count, count - 1, count);
}
