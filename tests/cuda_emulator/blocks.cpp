/* Blocks: threads that are fibers, and what they wait for.
 *
 * A fiber runs threads of the block one after the other for as long as none of them waits; one that waits keeps its fiber, and
 * another fiber goes on. So a kernel without barriers needs one fiber and no switching. What a barrier or a warp function lets
 * go on stands in a ring, first come, first served. When nothing can go on although threads wait, the kernel is wrong.
 *
 * Looking for races between the threads of a block (LAMINA_EMULATED_RACES=1, under ThreadSanitizer), every thread has a fiber of
 * its own, switching makes no order, and barriers and __syncwarp are told to ThreadSanitizer. */
#include "cuda_emulator/blocks.h"

#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_emulator/fibers.h"
#include "cuda_emulator/limits.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/sanitizers.h"
#include "cuda_emulator/state.h"

namespace emulator {

constinit thread_local const thread *running;

namespace {

enum wait_kind { NOT, BARRIER, SHUFFLE, BALLOT, SYNC_WARP, GATHER };
const char *const wait_names[] = {"nothing",  "__syncthreads", "a shuffle",
                                  "a ballot", "__syncwarp",    "a product"};

/* What a thread waits for; of a warp function, also what it brings and gets. */
struct waiting {
    wait_kind kind = NOT;
    place where = {};
    unsigned mask = 0;
    const void *mine = nullptr;
    void *theirs = nullptr;
    size_t bytes = 0;
    int source = 0;
};

struct block_thread {
    fiber on;
    thread seen;
    int flat;
    waiting wait;
};

/* Of one thread of the host. */
class block_runner {
  public:
    block_runner() { home_fiber(&home, races); }
    ~block_runner() {
        for (const std::unique_ptr<block_thread> &t : pool) close_fiber(&t->on);
    }
    void run(const launch_request &request, const std::function<void()> &body, bool backwards, uint3 index);
    void fiber_main();
    void barrier(place where);
    void warp(const waiting &wait);
    void *shared = nullptr;

  private:
    block_thread *self() { return on; }
    block_thread *set_up(const launch_request &request, const std::function<void()> &body, bool backwards,
                         uint3 index);
    void begin_thread();
    block_thread *end_thread();
    void release_barrier();
    void complete_warp(int first, unsigned mask);
    void deliver(int first, unsigned mask, const block_thread &to);
    void expect_agreement(int first, unsigned mask, const block_thread &a);
    block_thread *fresh_fiber();
    block_thread *take_ready();
    void make_ready(block_thread *t);
    block_thread *next_to_run();
    void go_to(block_thread *to);
    [[noreturn]] void deadlock();

    const launch_request *launched = nullptr;
    const std::function<void()> *body = nullptr;
    uint3 block_index = {};
    bool backwards = false, races = configured().races;
    int count = 0, begun = 0, ended = 0;            /* threads */
    block_thread *threads[MOST_BLOCK_THREADS] = {}; /* by place in the block: those that run */

    int arrived = 0, barriers = 0; /* at the barrier now; barriers passed */
    place barrier_place = {};
    unsigned warp_waiting[MOST_BLOCK_THREADS / WARP_THREADS] = {};
    char order[2], warp_order[MOST_BLOCK_THREADS / WARP_THREADS], start_order, end_order; /* addresses only */

    std::vector<std::unique_ptr<block_thread>> pool;
    block_thread *idle[MOST_BLOCK_THREADS], *ready[MOST_BLOCK_THREADS];
    int idle_count = 0, ready_first = 0, ready_count = 0;
    block_thread *on = nullptr; /* NULL: at home */
    fiber home;
};

thread_local block_runner *runner;

/* Ends with the thread. */
struct runner_owner {
    std::unique_ptr<block_runner> owned;
    ~runner_owner() {
        unseen hidden;
        owned.reset();
    }
};
block_runner *this_runner() {
    unseen hidden;
    static thread_local runner_owner owner;
    if (!runner) {
        owner.owned = std::make_unique<block_runner>();
        runner = owner.owned.get();
    }
    return runner;
}

void enter_runner() {
    unseen_value(runner)->fiber_main();
}

/* ---- fibers of the block ---- */

block_thread *block_runner::fresh_fiber() {
    if (idle_count > 0) return idle[--idle_count];
    pool.push_back(std::make_unique<block_thread>());
    open_fiber(&pool.back()->on, enter_runner, races);
    return pool.back().get();
}

block_thread *block_runner::take_ready() {
    block_thread *t = ready[ready_first];
    ready_first = (ready_first + 1) % MOST_BLOCK_THREADS;
    ready_count--;
    return t;
}

void block_runner::make_ready(block_thread *t) {
    t->wait.kind = NOT;
    ready[(ready_first + ready_count++) % MOST_BLOCK_THREADS] = t;
}

void block_runner::go_to(block_thread *to) {
    if (to == on) return;
    fiber *from = on ? &on->on : &home;
    {
        unseen hidden;
        on = to;
        running = to ? &to->seen : nullptr;
    }
    switch_fiber(from, to ? &to->on : &home);
}

/* For a fiber whose thread waits or has ended. NULL: the block is done. */
block_thread *block_runner::next_to_run() {
    if (ready_count > 0) return take_ready();
    if (begun < count) return fresh_fiber();
    if (ended < count) deadlock();
    return nullptr;
}

/* Where a fiber begins, and stays: it runs threads of this block and of later ones. */
void block_runner::fiber_main() {
    for (;;) {
        begin_thread();
        if (races) acquire(&start_order);
        (*body)();
        if (races) release(&end_order);
        go_to(end_thread());
    }
}

void block_runner::begin_thread() {
    unseen hidden;
    const dim3 &size = launched->block;
    unsigned flat = (unsigned)(backwards ? count - 1 - begun : begun);
    begun++;
    on->flat = (int)flat;
    on->seen = {
        {flat % size.x, flat / size.x % size.y, flat / size.x / size.y}, block_index, size, launched->grid};
    threads[flat] = on;
}

/* Returns what runs next: this fiber itself, with another thread, if it can. */
block_thread *block_runner::end_thread() {
    unseen hidden;
    threads[on->flat] = nullptr;
    ended++;
    if (arrived > 0 && arrived == count - ended) release_barrier();
    if (!races && ready_count == 0 && begun < count) return on;
    if (!races) idle[idle_count++] = on;
    return next_to_run();
}

/* ---- barriers ---- */

void block_runner::barrier(place where) {
    char *mark = &order[barriers % 2];
    block_thread *next;
    if (races) release(mark);
    {
        unseen hidden;
        if (arrived == 0) barrier_place = where;
        if (where.line != barrier_place.line || strcmp(where.file, barrier_place.file) != 0)
            fail("kernel '%s': threads of a block wait at different barriers, %s:%d and %s:%d",
                 launched->name, barrier_place.file, barrier_place.line, where.file, where.line);
        on->wait.kind = BARRIER;
        on->wait.where = where;
        if (++arrived == count - ended) release_barrier();
        next = next_to_run();
    }
    go_to(next);
    if (races) acquire(mark);
}

void block_runner::release_barrier() {
    arrived = 0;
    barriers++;
    for (int i = 0; i < count; i++) {
        block_thread *t = threads[backwards ? count - 1 - i : i];
        if (t && t->wait.kind == BARRIER) make_ready(t);
    }
}

/* ---- warps ---- */

void block_runner::warp(const waiting &what) {
    int first = on->flat / WARP_THREADS * WARP_THREADS, lane = on->flat % WARP_THREADS;
    char *mark = &warp_order[first / WARP_THREADS];
    bool orders = races && what.kind == SYNC_WARP;
    block_thread *next = on;
    if (orders) release(mark);
    {
        unseen hidden;
        if (!(what.mask >> lane & 1))
            fail("kernel '%s', %s:%d: the mask %08x of %s does not name the calling lane, %d", launched->name,
                 what.where.file, what.where.line, what.mask, wait_names[what.kind], lane);
        if (what.kind == SHUFFLE && !(what.mask >> what.source & 1))
            fail("kernel '%s', %s:%d: lane %d reads from lane %d, which the mask %08x does not name",
                 launched->name, what.where.file, what.where.line, lane, what.source, what.mask);
        on->wait = what;
        unsigned &here = warp_waiting[first / WARP_THREADS];
        here |= 1u << lane;
        if ((here & what.mask) == what.mask) complete_warp(first, what.mask);
        if (on->wait.kind != NOT) next = next_to_run();
    }
    go_to(next);
    if (orders) acquire(mark);
}

void block_runner::expect_agreement(int first, unsigned mask, const block_thread &a) {
    for (int lane = 0; lane < WARP_THREADS; lane++) {
        if (!(mask >> lane & 1)) continue;
        const waiting &b = threads[first + lane]->wait;
        if (b.mask != mask || b.kind != a.wait.kind || b.bytes != a.wait.bytes)
            fail("kernel '%s': lanes of a warp disagree: lane %d waits in %s of mask %08x (%s:%d), lane %d "
                 "in %s of "
                 "mask %08x (%s:%d)",
                 launched->name, a.flat - first, wait_names[a.wait.kind], mask, a.wait.where.file,
                 a.wait.where.line, lane, wait_names[b.kind], b.mask, b.where.file, b.where.line);
    }
}

void block_runner::deliver(int first, unsigned mask, const block_thread &to) {
    const waiting &w = to.wait;
    if (w.kind == SHUFFLE) memcpy(w.theirs, threads[first + w.source]->wait.mine, w.bytes);
    if (w.kind == GATHER)
        for (int lane = 0; lane < WARP_THREADS; lane++)
            memcpy(static_cast<char *>(w.theirs) + (size_t)lane * w.bytes, threads[first + lane]->wait.mine,
                   w.bytes);
    if (w.kind != BALLOT) return;
    unsigned votes = 0;
    for (int lane = 0; lane < WARP_THREADS; lane++)
        if (mask >> lane & 1 && *static_cast<const bool *>(threads[first + lane]->wait.mine))
            votes |= 1u << lane;
    memcpy(w.theirs, &votes, sizeof votes);
}

/* The last lane of the mask has come: it hands out everything, and goes on first. */
void block_runner::complete_warp(int first, unsigned mask) {
    expect_agreement(first, mask, *on);
    for (int lane = 0; lane < WARP_THREADS; lane++)
        if (mask >> lane & 1) deliver(first, mask, *threads[first + lane]);
    for (int lane = 0; lane < WARP_THREADS; lane++)
        if (mask >> lane & 1 && threads[first + lane] != on) make_ready(threads[first + lane]);
    on->wait.kind = NOT;
    warp_waiting[first / WARP_THREADS] &= ~mask;
}

/* ---- mistakes ---- */

/* Names one thread of each way of waiting. */
void block_runner::deadlock() {
    char text[512];
    int used = 0;
    unsigned told = 0;
    for (int i = 0; i < count && used < (int)sizeof text - 160; i++) {
        const block_thread *t = threads[i];
        if (!t || told >> t->wait.kind & 1) continue;
        told |= 1u << t->wait.kind;
        used += snprintf(text + used, sizeof text - (size_t)used, "; thread %d waits in %s", i,
                         wait_names[t->wait.kind]);
        if (t->wait.kind != BARRIER)
            used += snprintf(text + used, sizeof text - (size_t)used, " of mask %08x", t->wait.mask);
        used += snprintf(text + used, sizeof text - (size_t)used, " (%.80s:%d)", t->wait.where.file,
                         t->wait.where.line);
    }
    fail("kernel '%s', block (%u,%u,%u): threads wait for ever, not all come; %d of %d have ended%s",
         launched->name, block_index.x, block_index.y, block_index.z, ended, count, text);
}

/* ---- blocks ---- */

/* Returns the fiber to begin with. */
block_thread *block_runner::set_up(const launch_request &request, const std::function<void()> &run_thread,
                                   bool from_the_end, uint3 index) {
    unseen hidden;
    launched = &request;
    body = &run_thread;
    backwards = from_the_end;
    block_index = index;
    count = (int)(request.block.x * request.block.y * request.block.z);
    begun = ended = arrived = 0;
    memset(warp_waiting, 0, sizeof warp_waiting);
    idle_count = 0;
    for (const std::unique_ptr<block_thread> &t : pool) idle[idle_count++] = t.get();
    return fresh_fiber();
}

void block_runner::run(const launch_request &request, const std::function<void()> &run_thread,
                       bool from_the_end, uint3 index) {
    if (races) release(&start_order);
    go_to(set_up(request, run_thread, from_the_end, index));
    if (races) acquire(&end_order);
}

/* Exactly as large as asked, so that AddressSanitizer guards its ends. */
struct shared_room {
    explicit shared_room(size_t size) : bytes(size) {
        if (size && posix_memalign(&room, 16, size) != 0) fail("there is no memory for shared memory");
    }
    ~shared_room() { free(room); }
    shared_room(const shared_room &) = delete;
    shared_room &operator=(const shared_room &) = delete;
    size_t bytes;
    void *room = nullptr;
};

} // namespace

void run_grid(const launch_request &request, const std::function<void()> &body, unsigned random) {
    block_runner *r = this_runner();
    bool blocks_backwards = random & 1, threads_backwards = random & 2;
    uint64_t xs = request.grid.x, ys = request.grid.y, blocks = xs * ys * request.grid.z;
    shared_room shared(request.shared_bytes);
    r->shared = shared.room;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t b = blocks_backwards ? blocks - 1 - i : i;
        if (shared.bytes) memset(shared.room, 0xFF, shared.bytes);
        r->run(request, body, threads_backwards,
               {(unsigned)(b % xs), (unsigned)(b / xs % ys), (unsigned)(b / xs / ys)});
    }
}

void *shared() {
    return runner->shared;
}

void sync_threads(place where) {
    runner->barrier(where);
}

void exchange(unsigned mask, const void *mine, void *theirs, size_t bytes, int source, place where) {
    runner->warp({SHUFFLE, where, mask, mine, theirs, bytes, source});
}

unsigned ballot(unsigned mask, bool predicate, place where) {
    unsigned votes = 0;
    runner->warp({BALLOT, where, mask, &predicate, &votes, sizeof votes, 0});
    return votes;
}

void gather(const void *mine, void *all, size_t bytes, place where) {
    runner->warp({GATHER, where, 0xFFFFFFFFu, mine, all, bytes, 0});
}

void sync_warp(unsigned mask, place where) {
    runner->warp({SYNC_WARP, where, mask, nullptr, nullptr, 0, 0});
}

} // namespace emulator
