/* Ranks that are threads of one process: a message is copied by its receiver while its sender waits. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/transport_link.h"

enum { WORDS = 64 };

/* The message that a sender holds ready. */
struct box {
    const struct lam_transfer *parts; /* NULL: there is none */
    bool taken;
};

struct hub {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int ranks, open;
    struct box *boxes; /* [from][to][tag] */
    struct inbox {
        struct lam_control words[WORDS];
        int first, count;
    } * inboxes; /* by rank */
};

struct local {
    struct hub *hub;
    int rank;
};

static struct box *box_of(struct hub *hub, int from, int to, int tag) {
    return &hub->boxes[((size_t)from * (size_t)hub->ranks + (size_t)to) * LAM_TAGS + (size_t)tag];
}

/* Waits a moment: the flags that end a wait are nobody's condition. */
static void wait_a_moment(struct hub *hub) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 2000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_clockwait(&hub->moved, &hub->mutex, CLOCK_MONOTONIC, &until);
}

static bool ended(const _Atomic bool *stopped, const _Atomic bool *cancel) {
    return atomic_load(stopped) || atomic_load(cancel);
}

/* With the lock held: puts the message into the box and waits until it was taken. */
static bool put(struct hub *hub, struct box *box, const struct lam_transfer *parts,
                const _Atomic bool *stopped, const _Atomic bool *cancel) {
    *box = (struct box){.parts = parts};
    pthread_cond_broadcast(&hub->moved);
    while (!box->taken && !ended(stopped, cancel)) wait_a_moment(hub);
    bool done = box->taken;
    *box = (struct box){0};
    return done;
}

static bool take(struct hub *hub, struct box *box, const struct lam_transfer *parts, int count,
                 const _Atomic bool *stopped, const _Atomic bool *cancel) {
    while ((!box->parts || box->taken) && !ended(stopped, cancel)) wait_a_moment(hub);
    if (!box->parts || box->taken) return false;
    for (int i = 0; i < count; i++)
        if (box->parts[i].bytes) memcpy(parts[i].data, box->parts[i].data, box->parts[i].bytes);
    box->taken = true;
    return true;
}

static lam_status exchange(void *link, const struct lam_transfer *transfers, int count,
                           const _Atomic bool *stopped, const _Atomic bool *cancel) {
    struct local *local = link;
    struct hub *hub = local->hub;
    int peer = transfers[0].peer, tag = transfers[0].tag;
    bool send = transfers[0].send;
    pthread_mutex_lock(&hub->mutex);
    struct box *box = send ? box_of(hub, local->rank, peer, tag) : box_of(hub, peer, local->rank, tag);
    bool done =
        send ? put(hub, box, transfers, stopped, cancel) : take(hub, box, transfers, count, stopped, cancel);
    pthread_cond_broadcast(&hub->moved);
    pthread_mutex_unlock(&hub->mutex);
    return done ? LAM_OK : lam_fail(LAM_ERR_STOPPED, "the ranks were stopped");
}

/* ---- words ---- */

static void tell(void *link, int to, const struct lam_control *control) {
    struct hub *hub = ((struct local *)link)->hub;
    pthread_mutex_lock(&hub->mutex);
    struct inbox *inbox = &hub->inboxes[to];
    bool room = inbox->count < WORDS;
    if (room) inbox->words[(inbox->first + inbox->count++) % WORDS] = *control;
    pthread_mutex_unlock(&hub->mutex);
}

static bool hear(void *link, struct lam_control *control) {
    struct local *local = link;
    pthread_mutex_lock(&local->hub->mutex);
    struct inbox *inbox = &local->hub->inboxes[local->rank];
    bool any = inbox->count > 0;
    if (any) {
        *control = inbox->words[inbox->first];
        inbox->first = (inbox->first + 1) % WORDS;
        inbox->count--;
    }
    pthread_mutex_unlock(&local->hub->mutex);
    return any;
}

static bool alive(void *link, int rank) {
    (void)link, (void)rank;
    return true;
}

static void describe(void *link, int rank, char *text, size_t size) {
    (void)link;
    snprintf(text, size, "rank %d", rank);
}

/* ---- life ---- */

static void close_hub(struct hub *hub) {
    pthread_cond_destroy(&hub->moved);
    pthread_mutex_destroy(&hub->mutex);
    free(hub->boxes);
    free(hub->inboxes);
    free(hub);
}

static void close_local(void *link, bool orderly) {
    (void)orderly;
    struct local *local = link;
    pthread_mutex_lock(&local->hub->mutex);
    bool last = --local->hub->open == 0;
    pthread_mutex_unlock(&local->hub->mutex);
    if (last) close_hub(local->hub);
    free(local);
}

static const struct lam_link_ops ops = {exchange, tell, hear, alive, describe, close_local};

static lam_status create_hub(int ranks, struct hub **hub) {
    struct hub *h = calloc(1, sizeof *h);
    if (!h) return lam_no_memory();
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->moved, NULL);
    h->ranks = ranks;
    h->boxes = calloc((size_t)ranks * (size_t)ranks * LAM_TAGS, sizeof *h->boxes);
    h->inboxes = calloc((size_t)ranks, sizeof *h->inboxes);
    *hub = h;
    if (h->boxes && h->inboxes) return LAM_OK;
    close_hub(h);
    return lam_no_memory();
}

lam_status lam_transport_open_local(int ranks, struct lam_transport **transports) {
    struct hub *hub = NULL;
    struct local *locals[64];
    if (ranks < 1 || ranks > 64) return lam_fail(LAM_ERR_INVALID, "%d ranks are not 1 to 64", ranks);
    LAM_TRY(create_hub(ranks, &hub));
    hub->open = ranks;
    bool all = true;
    for (int r = 0; r < ranks; r++) all = (locals[r] = malloc(sizeof *locals[r])) != NULL && all;
    for (int r = 0; !all && r < ranks; r++) free(locals[r]);
    if (!all) close_hub(hub);
    if (!all) return lam_no_memory();
    for (int r = 0; r < ranks; r++) *locals[r] = (struct local){hub, r};
    lam_status status = LAM_OK;
    for (int r = 0; r < ranks; r++) {
        transports[r] = NULL;
        if (status == LAM_OK)
            status = lam_transport_create(&ops, locals[r], r, ranks, &transports[r]);
        else
            close_local(locals[r], false);
    }
    for (int r = 0; status != LAM_OK && r < ranks; r++) lam_transport_close(transports[r]);
    return status;
}
