/* What all kinds of transport share: the first error and how it travels, the listener that hears of it and of ranks that
 * are gone, and the few patterns of messages. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "pipeline/transport_link.h"

/* Seconds. */
#define LISTEN_EVERY 0.01
#define TICK_EVERY   0.1
#define BEAT_EVERY   1.0
#define CLOSE_WITHIN 5.0

struct peer {
    double heard; /* when */
    bool closing, lost;
};

/* Something to call. */
struct callback {
    void (*call)(void *context);
    void *context;
};

struct lam_transport {
    const struct lam_link_ops *ops;
    void *link;
    int rank, ranks;
    pthread_mutex_t mutex; /* guards what follows */
    struct lam_error error;
    struct peer *peers;
    _Atomic bool stopped, closing, stop_asked;
    pthread_t listener;
    pthread_mutex_t calling; /* held during calls; taken before mutex */
    struct callback on_error, on_tick;
};

static lam_status stopped(void) {
    return lam_fail(LAM_ERR_STOPPED, "the ranks were stopped");
}

/* ---- errors ---- */

/* With the lock held. */
static bool keep_first(struct lam_transport *t, const struct lam_error *error) {
    bool first = t->error.status == LAM_OK;
    if (first) t->error = *error;
    atomic_store(&t->stopped, true);
    return first;
}

static bool is_lost(struct lam_transport *t, int rank) {
    pthread_mutex_lock(&t->mutex);
    bool lost = t->peers[rank].lost;
    pthread_mutex_unlock(&t->mutex);
    return lost;
}

bool lam_transport_any_lost(struct lam_transport *t) {
    bool any = false;
    for (int r = 0; r < t->ranks; r++) any = any || is_lost(t, r);
    return any;
}

static void tell_all(struct lam_transport *t, const struct lam_control *control) {
    for (int r = 0; r < t->ranks; r++)
        if (r != t->rank && !is_lost(t, r)) t->ops->tell(t->link, r, control);
}

lam_status lam_transport_fail(struct lam_transport *t, lam_status status) {
    struct lam_control control = {.word = LAM_CONTROL_FAIL, .from = t->rank};
    lam_error_save(&control.error, status);
    pthread_mutex_lock(&t->mutex);
    bool first = keep_first(t, &control.error);
    pthread_mutex_unlock(&t->mutex);
    if (first) tell_all(t, &control);
    return lam_error_restore(&control.error);
}

lam_status lam_transport_error(struct lam_transport *t) {
    pthread_mutex_lock(&t->mutex);
    struct lam_error error = t->error;
    pthread_mutex_unlock(&t->mutex);
    return error.status == LAM_OK ? LAM_OK : lam_error_restore(&error);
}

void lam_transport_ask_stop(struct lam_transport *t) {
    if (t->rank == 0)
        atomic_store(&t->stop_asked, true);
    else
        t->ops->tell(t->link, 0, &(struct lam_control){.word = LAM_CONTROL_STOP, .from = t->rank});
}

bool lam_transport_stop_asked(const struct lam_transport *t) {
    return atomic_load(&t->stop_asked);
}

/* ---- the listener ---- */

static void hear(struct lam_transport *t, const struct lam_control *control) {
    struct peer *peer = &t->peers[control->from];
    struct lam_error error = control->error;
    char who[256];
    t->ops->describe(t->link, control->from, who, sizeof who);
    if (error.status != LAM_OK)
        snprintf(error.text, sizeof error.text, "%s: %.700s", who, control->error.text);
    pthread_mutex_lock(&t->mutex);
    peer->heard = lam_seconds();
    if (control->word == LAM_CONTROL_BYE) peer->closing = true;
    if (control->word == LAM_CONTROL_STOP) atomic_store(&t->stop_asked, true);
    if (control->word == LAM_CONTROL_FAIL) keep_first(t, &error);
    pthread_mutex_unlock(&t->mutex);
}

/* A rank that says nothing any more, and did not say that it would. */
static void look_for_lost(struct lam_transport *t) {
    for (int r = 0; r < t->ranks; r++) {
        struct peer *peer = &t->peers[r];
        pthread_mutex_lock(&t->mutex);
        bool silent = lam_seconds() - peer->heard > LAM_TRANSPORT_SILENCE;
        bool expected = r != t->rank && !peer->closing && !peer->lost;
        pthread_mutex_unlock(&t->mutex);
        if (!expected || (!silent && t->ops->alive(t->link, r))) continue;
        char who[256];
        struct lam_error error;
        t->ops->describe(t->link, r, who, sizeof who);
        lam_error_save(&error, lam_fail(LAM_ERR_DEVICE, "%s is gone: it was killed, or its machine is", who));
        pthread_mutex_lock(&t->mutex);
        peer->lost = true;
        bool first = keep_first(t, &error);
        pthread_mutex_unlock(&t->mutex);
        if (first)
            tell_all(t, &(struct lam_control){.word = LAM_CONTROL_FAIL, .from = t->rank, .error = error});
    }
}

static void call(struct lam_transport *t, struct callback *callback, bool once) {
    pthread_mutex_lock(&t->calling);
    if (callback->call) callback->call(callback->context);
    if (once) callback->call = NULL;
    pthread_mutex_unlock(&t->calling);
}

static void set_call(struct lam_transport *t, struct callback *callback, void (*function)(void *),
                     void *context) {
    pthread_mutex_lock(&t->calling);
    *callback = (struct callback){function, context};
    pthread_mutex_unlock(&t->calling);
}

void lam_transport_on_error(struct lam_transport *t, void (*function)(void *context), void *context) {
    set_call(t, &t->on_error, function, context);
}

void lam_transport_on_tick(struct lam_transport *t, void (*function)(void *context), void *context) {
    set_call(t, &t->on_tick, function, context);
}

static void *listen(void *argument) {
    struct lam_transport *t = argument;
    const struct lam_control beat = {.word = LAM_CONTROL_BEAT, .from = t->rank};
    double beaten = 0, ticked = 0;
    while (!atomic_load(&t->closing)) {
        struct lam_control control;
        while (t->ops->hear(t->link, &control)) hear(t, &control);
        double now = lam_seconds();
        if (now - beaten >= BEAT_EVERY) tell_all(t, &beat);
        if (now - beaten >= BEAT_EVERY) beaten = now;
        if (now - ticked >= TICK_EVERY) look_for_lost(t);
        if (now - ticked >= TICK_EVERY) call(t, &t->on_tick, false);
        if (now - ticked >= TICK_EVERY) ticked = now;
        if (atomic_load(&t->stopped)) call(t, &t->on_error, true);
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * LISTEN_EVERY)}, NULL);
    }
    return NULL;
}

/* ---- life ---- */

lam_status lam_transport_create(const struct lam_link_ops *ops, void *link, int rank, int ranks,
                                struct lam_transport **transport) {
    struct lam_transport *t = calloc(1, sizeof *t);
    struct peer *peers = calloc((size_t)ranks, sizeof *peers);
    if (!t || !peers) {
        free(t);
        free(peers);
        ops->close(link, false);
        return lam_no_memory();
    }
    *t = (struct lam_transport){.ops = ops, .link = link, .rank = rank, .ranks = ranks, .peers = peers};
    for (int r = 0; r < ranks; r++) peers[r].heard = lam_seconds();
    pthread_mutex_init(&t->mutex, NULL);
    pthread_mutex_init(&t->calling, NULL);
    if (pthread_create(&t->listener, NULL, listen, t) != 0) {
        ops->close(link, false);
        pthread_mutex_destroy(&t->mutex);
        pthread_mutex_destroy(&t->calling);
        free(peers);
        free(t);
        return lam_fail(LAM_ERR_NO_MEMORY, "a thread could not be started");
    }
    *transport = t;
    return LAM_OK;
}

/* Whether all other ranks are closing, too, or lost. */
static bool all_closing(struct lam_transport *t) {
    bool all = true;
    pthread_mutex_lock(&t->mutex);
    for (int r = 0; r < t->ranks; r++) all = all && (r == t->rank || t->peers[r].closing || t->peers[r].lost);
    pthread_mutex_unlock(&t->mutex);
    return all;
}

bool lam_transport_close(struct lam_transport *t) {
    if (!t) return true;
    tell_all(t, &(struct lam_control){.word = LAM_CONTROL_BYE, .from = t->rank});
    double end = lam_seconds() + CLOSE_WITHIN;
    while (!all_closing(t) && lam_seconds() < end)
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * LISTEN_EVERY)}, NULL);
    bool orderly = all_closing(t) && !lam_transport_any_lost(t);
    pthread_mutex_lock(&t->mutex);
    bool last = t->rank == t->ranks - 1 || t->peers[t->ranks - 1].closing;
    pthread_mutex_unlock(&t->mutex);
    atomic_store(&t->closing, true);
    pthread_join(t->listener, NULL);
    t->ops->close(t->link, orderly);
    pthread_mutex_destroy(&t->mutex);
    pthread_mutex_destroy(&t->calling);
    free(t->peers);
    free(t);
    return last;
}

int lam_transport_rank(const struct lam_transport *t) {
    return t->rank;
}

int lam_transport_ranks(const struct lam_transport *t) {
    return t->ranks;
}

/* ---- messages ---- */

static lam_status exchange(struct lam_transport *t, bool send, int peer, enum lam_tag tag,
                           const struct lam_part *parts, int count, const _Atomic bool *cancel) {
    static const _Atomic bool never = false;
    struct lam_transfer transfers[LAM_MAX_PARTS];
    if (count > LAM_MAX_PARTS) return lam_fail(LAM_ERR_INTERNAL, "%d parts of a message are too many", count);
    for (int i = 0; i < count; i++)
        transfers[i] = (struct lam_transfer){send, peer, (int)tag, parts[i].data, parts[i].bytes};
    if (atomic_load(&t->stopped)) return stopped();
    return t->ops->exchange(t->link, transfers, count, &t->stopped, cancel ? cancel : &never);
}

lam_status lam_transport_send(struct lam_transport *t, int to, enum lam_tag tag, const struct lam_part *parts,
                              int count, const _Atomic bool *cancel) {
    return exchange(t, true, to, tag, parts, count, cancel);
}

lam_status lam_transport_receive(struct lam_transport *t, int from, enum lam_tag tag,
                                 const struct lam_part *parts, int count, const _Atomic bool *cancel) {
    return exchange(t, false, from, tag, parts, count, cancel);
}

lam_status lam_transport_broadcast(struct lam_transport *t, int from, void *data, size_t bytes) {
    const struct lam_part part = {data, bytes};
    if (t->rank != from) return lam_transport_receive(t, from, LAM_TAG_RUN, &part, 1, NULL);
    for (int r = 0; r < t->ranks; r++)
        if (r != from) LAM_TRY(lam_transport_send(t, r, LAM_TAG_RUN, &part, 1, NULL));
    return LAM_OK;
}

lam_status lam_transport_barrier(struct lam_transport *t) {
    char token = 0;
    const struct lam_part part = {&token, 1};
    if (t->rank != 0) LAM_TRY(lam_transport_send(t, 0, LAM_TAG_RUN, &part, 1, NULL));
    for (int r = 1; t->rank == 0 && r < t->ranks; r++)
        LAM_TRY(lam_transport_receive(t, r, LAM_TAG_RUN, &part, 1, NULL));
    return lam_transport_broadcast(t, 0, &token, 1);
}

/* ---- MPI is a module of its own: who does not ask for it does not need it ---- */

static const char module_name[] = "liblamina_mpi.so";

/* Beside the library that asks for it. */
static void *load_module(void) {
    Dl_info here;
    char path[4096];
    const char *slash = dladdr(&module_name, &here) ? strrchr(here.dli_fname, '/') : NULL;
    if (!slash) return dlopen(module_name, RTLD_NOW | RTLD_GLOBAL);
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - here.dli_fname), here.dli_fname, module_name);
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

lam_status lam_transport_open_mpi(struct lam_transport **transport) {
    void *module = load_module();
    void *open = module ? dlsym(module, LAM_MPI_OPEN) : NULL;
    if (open) return ((lam_mpi_open_function)(uintptr_t)open)(transport);
    return lam_fail(LAM_ERR_UNSUPPORTED,
                    "MPI is not there (%s); install libopenmpi-dev and openmpi-bin and build Lamina again",
                    dlerror());
}
