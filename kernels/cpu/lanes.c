/* Threads that wait by spinning for a short while and then sleep.
 *
 * Lanes meet many times in a step, mostly within microseconds of each other: sleeping at once would cost a
 * system call and a wake-up each time. But when another program has taken a core, the lane on it may be away
 * for milliseconds, and the others must not burn their cores until it is back. So every wait spins for
 * SPIN_SECONDS and then sleeps on a futex.
 *
 * All waits go through a *gate*: a counter that somebody advances and others wait to see changed. The order
 * "advance, then look for sleepers" against "announce oneself as a sleeper, then look at the counter" (both
 * sequentially consistent; the kernel looks once more before it puts a thread to sleep) lets no wake-up be
 * lost, and costs no system call when nobody sleeps. */
#include "cpu/lanes.h"

#include "base/files.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libgomp's, named here because omp.h comes with a compiler, not with the library. */
extern void omp_set_num_threads(int threads);
extern int omp_get_max_threads(void);

#define SPIN_SECONDS 30e-6

int lam_openmp_single(void) {
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}

void lam_openmp_set(int threads) {
    omp_set_num_threads(threads);
}

/* ---- gates ---- */

struct gate {
    _Alignas(64) _Atomic uint32_t count;
    _Atomic uint32_t sleepers;
};

static void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Spins until the gate has moved on from `seen`; false when the time is over. */
static bool spin_on(struct gate *gate, uint32_t seen) {
    double end = lam_seconds() + SPIN_SECONDS;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&gate->count, memory_order_acquire) != seen) return true;
            pause_core();
        }
    } while (lam_seconds() < end);
    return false;
}

static void gate_wait(struct gate *gate, uint32_t seen, bool spin) {
    if (atomic_load_explicit(&gate->count, memory_order_acquire) != seen) return;
    if (spin && spin_on(gate, seen)) return;
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->count) == seen)
        syscall(SYS_futex, &gate->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&gate->sleepers, 1);
}

static void gate_advance(struct gate *gate) {
    atomic_fetch_add(&gate->count, 1);
    if (atomic_load(&gate->sleepers) > 0)
        syscall(SYS_futex, &gate->count, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* ---- lanes ---- */

struct lane {
    struct lam_lanes *lanes;
    pthread_t thread;
    int index;
};

struct lam_lanes {
    struct gate start, done, barrier;
    _Alignas(64) _Atomic int working;      /* lanes that have not returned from work */
    _Alignas(64) _Atomic int arrived;      /* lanes that stand at the barrier */
    void (*work)(void *context, int lane); /* NULL: end the thread */
    void *context;
    bool spin;
    int count, started;
    struct lane lane[];
};

static void *lane_main(void *argument) {
    struct lane *lane = argument;
    struct lam_lanes *lanes = lane->lanes;
    lam_openmp_single();
    for (uint32_t seen = 0;; seen++) {
        gate_wait(&lanes->start, seen, lanes->spin);
        if (!lanes->work) return NULL;
        lanes->work(lanes->context, lane->index);
        if (atomic_fetch_sub(&lanes->working, 1) == 1) gate_advance(&lanes->done);
    }
}

/* The caller does not spin: it would take a lane's core. */
void lam_lanes_run(struct lam_lanes *lanes, void (*work)(void *context, int lane), void *context) {
    uint32_t seen = atomic_load(&lanes->done.count);
    lanes->work = work;
    lanes->context = context;
    atomic_store(&lanes->working, lanes->count);
    gate_advance(&lanes->start);
    gate_wait(&lanes->done, seen, false);
}

void lam_lanes_barrier(struct lam_lanes *lanes) {
    if (lanes->count == 1) return;
    uint32_t seen = atomic_load_explicit(&lanes->barrier.count, memory_order_acquire);
    if (atomic_fetch_add(&lanes->arrived, 1) == lanes->count - 1) {
        atomic_store(&lanes->arrived, 0);
        gate_advance(&lanes->barrier);
    } else {
        gate_wait(&lanes->barrier, seen, lanes->spin);
    }
}

/* ---- start and stop ---- */

static int start_thread(struct lane *lane, int core) {
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    error = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    if (!error) error = pthread_create(&lane->thread, &attributes, lane_main, lane);
    pthread_attr_destroy(&attributes);
    return error;
}

lam_status lam_lanes_start(const int *cores, int count, bool spin, struct lam_lanes **lanes) {
    size_t bytes = sizeof(struct lam_lanes) + (size_t)count * sizeof(struct lane);
    struct lam_lanes *l = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!l) return lam_no_memory();
    memset(l, 0, bytes);
    l->spin = spin;
    l->count = count;
    for (int i = 0; i < count; i++) {
        l->lane[i].lanes = l;
        l->lane[i].index = i;
        int error = start_thread(&l->lane[i], cores[i]);
        if (error) {
            lam_lanes_stop(l);
            return lam_fail(LAM_ERR_DEVICE, "cannot start a thread on core %d: %s", cores[i],
                            strerror(error));
        }
        l->started++;
    }
    *lanes = l;
    return LAM_OK;
}

void lam_lanes_stop(struct lam_lanes *lanes) {
    if (!lanes) return;
    lanes->work = NULL;
    gate_advance(&lanes->start);
    for (int i = 0; i < lanes->started; i++) pthread_join(lanes->lane[i].thread, NULL);
    free(lanes);
}
