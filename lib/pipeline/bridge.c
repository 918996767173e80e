/* The lock is held for a few instructions and never while another one is. */
#include "pipeline/bridge.h"

#include <pthread.h>
#include <stdlib.h>

struct lam_bridge {
    struct lam_bridge_options options;
    struct lam_carrier *carrier;
    void *outbox;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    void *slot; /* where the outbox is to go; NULL: it is free */
    bool poisoned, ending;
    pthread_t thread;
    bool running;
};

static void *carry(void *argument) {
    struct lam_bridge *b = argument;
    pthread_mutex_lock(&b->mutex);
    while (true) {
        while (!b->slot && !b->ending) pthread_cond_wait(&b->moved, &b->mutex);
        if (!b->slot) break;
        void *slot = b->slot;
        pthread_mutex_unlock(&b->mutex);
        lam_status status = lam_carrier_copy(b->carrier, slot, b->outbox, b->options.bytes);
        b->options.arrived(b->options.context, status);
        pthread_mutex_lock(&b->mutex);
        b->slot = NULL;
        pthread_cond_broadcast(&b->moved);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static lam_status start(struct lam_bridge *b) {
    const struct lam_bridge_options *o = &b->options;
    LAM_TRY(lam_carrier_create(o->from, o->to, &b->carrier));
    LAM_TRY(lam_device_alloc(o->from, LAM_MEMORY_QUEUE, o->bytes, &b->outbox));
    if (pthread_create(&b->thread, NULL, carry, b) != 0)
        return lam_fail(LAM_ERR_NO_MEMORY, "a thread between two devices could not be started");
    b->running = true;
    return LAM_OK;
}

lam_status lam_bridge_create(const struct lam_bridge_options *options, struct lam_bridge **bridge) {
    struct lam_bridge *b = calloc(1, sizeof *b);
    if (!b) return lam_no_memory();
    b->options = *options;
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->moved, NULL);
    lam_status status = start(b);
    if (status != LAM_OK)
        lam_bridge_destroy(b);
    else
        *bridge = b;
    return status;
}

void lam_bridge_destroy(struct lam_bridge *b) {
    if (!b) return;
    pthread_mutex_lock(&b->mutex);
    b->ending = true;
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->mutex);
    if (b->running) pthread_join(b->thread, NULL);
    lam_device_free(b->options.from, b->outbox);
    lam_carrier_destroy(b->carrier);
    pthread_cond_destroy(&b->moved);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

void *lam_bridge_outbox(const struct lam_bridge *bridge) {
    return bridge->outbox;
}

lam_status lam_bridge_wait(struct lam_bridge *b) {
    pthread_mutex_lock(&b->mutex);
    while (b->slot && !b->poisoned) pthread_cond_wait(&b->moved, &b->mutex);
    bool poisoned = b->poisoned;
    pthread_mutex_unlock(&b->mutex);
    return poisoned ? lam_fail(LAM_ERR_STOPPED, "the pipeline was stopped") : LAM_OK;
}

void lam_bridge_send(struct lam_bridge *b, void *slot) {
    pthread_mutex_lock(&b->mutex);
    b->slot = slot;
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->mutex);
}

void lam_bridge_poison(struct lam_bridge *b) {
    pthread_mutex_lock(&b->mutex);
    b->poisoned = true;
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->mutex);
}
