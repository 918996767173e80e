/* Counters under a lock; a condition variable for each side. */
#include "pipeline/queue.h"

#include <pthread.h>
#include <stdlib.h>

static lam_status stopped(void) {
    return lam_fail(LAM_ERR_STOPPED, "the pipeline was stopped");
}

/* What both have: a lock, a condition that changes, and the poison. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool poisoned;
};

static void gate_open(struct gate *gate) {
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

static void gate_close(struct gate *gate) {
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

static void gate_poison(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->poisoned = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

/* With the lock held: waits until ready(of) or poisoned. */
static lam_status gate_wait(struct gate *gate, bool (*ready)(const void *of), const void *of) {
    while (!ready(of) && !gate->poisoned) pthread_cond_wait(&gate->changed, &gate->mutex);
    return gate->poisoned ? stopped() : LAM_OK;
}

/* ---- queue ---- */

struct lam_queue {
    struct gate gate;
    int slots;
    uint64_t published, taken, released; /* so many in all */
};

lam_status lam_queue_create(int slots, struct lam_queue **queue) {
    struct lam_queue *q = calloc(1, sizeof *q);
    if (!q) return lam_no_memory();
    q->slots = slots;
    gate_open(&q->gate);
    *queue = q;
    return LAM_OK;
}

void lam_queue_destroy(struct lam_queue *q) {
    if (!q) return;
    gate_close(&q->gate);
    free(q);
}

static bool has_room(const void *of) {
    const struct lam_queue *q = of;
    return q->published - q->released < (uint64_t)q->slots;
}

static bool has_work(const void *of) {
    const struct lam_queue *q = of;
    return q->published > q->taken;
}

lam_status lam_queue_acquire(struct lam_queue *q, int *slot) {
    pthread_mutex_lock(&q->gate.mutex);
    lam_status status = gate_wait(&q->gate, has_room, q);
    *slot = (int)(q->published % (uint64_t)q->slots);
    pthread_mutex_unlock(&q->gate.mutex);
    return status;
}

lam_status lam_queue_take(struct lam_queue *q, int *slot) {
    pthread_mutex_lock(&q->gate.mutex);
    lam_status status = gate_wait(&q->gate, has_work, q);
    *slot = (int)(q->taken % (uint64_t)q->slots);
    if (status == LAM_OK) q->taken++;
    pthread_mutex_unlock(&q->gate.mutex);
    return status;
}

lam_status lam_queue_peek(struct lam_queue *q, int *slot) {
    pthread_mutex_lock(&q->gate.mutex);
    lam_status status = gate_wait(&q->gate, has_work, q);
    *slot = (int)(q->taken % (uint64_t)q->slots);
    pthread_mutex_unlock(&q->gate.mutex);
    return status;
}

static void count_up(struct gate *gate, uint64_t *counter) {
    pthread_mutex_lock(&gate->mutex);
    ++*counter;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

void lam_queue_publish(struct lam_queue *q) {
    count_up(&q->gate, &q->published);
}

void lam_queue_release(struct lam_queue *q) {
    count_up(&q->gate, &q->released);
}

void lam_queue_poison(struct lam_queue *q) {
    gate_poison(&q->gate);
}

int lam_queue_waiting(struct lam_queue *q) {
    pthread_mutex_lock(&q->gate.mutex);
    int waiting = (int)(q->published - q->taken);
    pthread_mutex_unlock(&q->gate.mutex);
    return waiting;
}

int lam_queue_slots(const struct lam_queue *q) {
    return q->slots;
}

/* ---- versions ---- */

struct lam_versions {
    struct gate gate;
    int kept;
    uint64_t first, next; /* versions [first, next) were published since the start */
    uint64_t needed;      /* the reader may still ask for this one and later ones */
    uint64_t asked;       /* what it waits for now */
};

lam_status lam_versions_create(int kept, struct lam_versions **versions) {
    struct lam_versions *v = calloc(1, sizeof *v);
    if (!v) return lam_no_memory();
    v->kept = kept;
    gate_open(&v->gate);
    *versions = v;
    return LAM_OK;
}

void lam_versions_destroy(struct lam_versions *v) {
    if (!v) return;
    gate_close(&v->gate);
    free(v);
}

void lam_versions_start(struct lam_versions *v, uint64_t version) {
    pthread_mutex_lock(&v->gate.mutex);
    v->first = v->next = v->needed = v->asked = version;
    pthread_mutex_unlock(&v->gate.mutex);
}

static bool has_place(const void *of) {
    const struct lam_versions *v = of;
    return v->next < v->needed + (uint64_t)v->kept;
}

static bool has_version(const void *of) {
    const struct lam_versions *v = of;
    return v->asked < v->next;
}

lam_status lam_versions_acquire(struct lam_versions *v, int *place) {
    pthread_mutex_lock(&v->gate.mutex);
    lam_status status = gate_wait(&v->gate, has_place, v);
    *place = (int)(v->next % (uint64_t)v->kept);
    pthread_mutex_unlock(&v->gate.mutex);
    return status;
}

void lam_versions_publish(struct lam_versions *v) {
    count_up(&v->gate, &v->next);
}

lam_status lam_versions_read(struct lam_versions *v, uint64_t version, int *place) {
    pthread_mutex_lock(&v->gate.mutex);
    lam_status status = LAM_OK;
    if (version < v->first || version < v->needed) {
        status = lam_fail(LAM_ERR_INTERNAL, "version %llu is gone", (unsigned long long)version);
    } else {
        v->needed = v->asked = version;
        pthread_cond_broadcast(&v->gate.changed);
        status = gate_wait(&v->gate, has_version, v);
        *place = (int)(version % (uint64_t)v->kept);
    }
    pthread_mutex_unlock(&v->gate.mutex);
    return status;
}

uint64_t lam_versions_next(struct lam_versions *v) {
    pthread_mutex_lock(&v->gate.mutex);
    uint64_t next = v->next;
    pthread_mutex_unlock(&v->gate.mutex);
    return next;
}

void lam_versions_poison(struct lam_versions *v) {
    gate_poison(&v->gate);
}
