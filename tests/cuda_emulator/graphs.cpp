/* Capturing and graphs.
 *
 * A capture is a list of what was put on its streams, in the order of the calls: work, marks (recorded events) and waits for
 * marks. Each captured stream is a chain. A launch queues the list again: the first chain on the stream of the launch, each
 * other one on an inner stream of its own, so that what the capture left without an order runs without an order. */
#include "cuda_emulator/graphs.h"

#include <algorithm>

#include "cuda_emulator/calls.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"

namespace emulator {

namespace {

struct node {
    enum { WORK, MARK, WAIT } kind;
    int chain;
    const char *name;
    hidden_ref<const function> run;
    std::vector<allocation *> uses;
    int mark;
};

struct graph {
    std::vector<node> nodes;
    std::vector<int> devices; /* of the chains */
    int marks = 0;
};

struct executable {
    graph what;
    std::vector<stream *> inner; /* of the second and further chains */
    moment_ref last;             /* end of the last launch; books' lock */
};

} // namespace

/* Books' lock. */
struct capture {
    graph made;
    std::vector<stream *> streams;
    cudaStreamCaptureMode mode;
    std::thread::id owner;
    bool broken = false, ended = false;
};

namespace {

std::vector<capture *> &open_captures() {
    static std::vector<capture *> *all = new std::vector<capture *>;
    return *all;
}

void join(capture *c, stream *s, const hidden_ref<capture> &kept) {
    s->captured = kept;
    s->chain = (int)c->streams.size();
    c->streams.push_back(s);
    c->made.devices.push_back(s->device);
}

/* ---- capturing ---- */

cudaError_t begin(cudaStream_t handle, cudaStreamCaptureMode mode) {
    stream *s = expect_stream(handle, "cudaStreamBeginCapture");
    if (break_capture_of(s)) return cudaErrorStreamCaptureUnsupported;
    cudaError_t error = device_error(s->device);
    if (error != cudaSuccess) return error;
    hidden_ref<capture> kept(new capture{});
    books locked;
    capture *c = kept.get();
    c->mode = mode;
    c->owner = std::this_thread::get_id();
    join(c, s, kept);
    open_captures().push_back(c);
    return cudaSuccess;
}

/* The last thing on every further chain is a mark that another chain waits for. */
bool is_joined(const graph &g, int chain) {
    const node *last = nullptr;
    for (const node &n : g.nodes)
        if (n.chain == chain) last = &n;
    return !last ||
           (last->kind == node::MARK && std::any_of(g.nodes.begin(), g.nodes.end(), [&](const node &n) {
                return n.kind == node::WAIT && n.mark == last->mark && n.chain != chain;
            }));
}

cudaError_t verdict(const capture &c) {
    if (c.broken) return cudaErrorStreamCaptureInvalidated;
    if (c.mode != cudaStreamCaptureModeRelaxed && c.owner != std::this_thread::get_id())
        return cudaErrorStreamCaptureWrongThread;
    for (int chain = 1; chain < (int)c.streams.size(); chain++)
        if (!is_joined(c.made, chain)) return cudaErrorStreamCaptureUnjoined;
    return cudaSuccess;
}

cudaError_t end(cudaStream_t handle, graph **made) {
    stream *s = expect_stream(handle, "cudaStreamEndCapture");
    *made = nullptr;
    hidden_ref<capture> kept;
    books locked;
    kept = s->captured;
    if (!kept) return cudaErrorInvalidValue;
    capture *c = kept.get();
    if (c->streams[0] != s) return cudaErrorStreamCaptureUnmatched;
    cudaError_t error = verdict(*c);
    for (stream *captured : c->streams) captured->captured = {};
    c->ended = true;
    std::erase(open_captures(), c);
    if (error == cudaSuccess) *made = new graph(std::move(c->made));
    return error;
}

void destroy_graph(graph *g) {
    remove_object("cudaGraph_t", g);
    unseen hidden;
    delete g;
}

cudaError_t state(cudaStream_t handle, cudaStreamCaptureStatus *status) {
    stream *s = expect_stream(handle, "cudaStreamIsCapturing");
    books locked;
    capture *c = s->captured.get();
    *status = !c          ? cudaStreamCaptureStatusNone
              : c->broken ? cudaStreamCaptureStatusInvalidated
                          : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

/* ---- launching ---- */

graph *expect_graph(cudaGraph_t handle) {
    expect_object("cudaGraph_t", handle);
    return reinterpret_cast<graph *>(handle);
}

executable *expect_executable(cudaGraphExec_t handle) {
    expect_object("cudaGraphExec_t", handle);
    return reinterpret_cast<executable *>(handle);
}

cudaError_t instantiate(cudaGraphExec_t *handle, const graph *g) {
    cudaError_t error = device_error(current_device());
    if (error != cudaSuccess) return error;
    executable *x;
    {
        unseen hidden;
        x = new executable{*g, {}, {}};
    }
    for (size_t chain = 1; chain < g->devices.size(); chain++)
        x->inner.push_back(open_stream(g->devices[chain]));
    add_object("cudaGraphExec_t", x);
    *handle = reinterpret_cast<cudaGraphExec_t>(x);
    return cudaSuccess;
}

void expect_live(const node &n) {
    books locked;
    for (const allocation *a : n.uses)
        if (!a->live)
            fail("cudaGraphLaunch: '%s' uses memory at %p, which was freed", n.name, (const void *)a->base);
}

void push_node(const node &n, stream *s, std::vector<moment_ref> &marks) {
    if (n.kind == node::MARK) {
        marks[(size_t)n.mark] = push_mark(s);
    } else if (n.kind == node::WAIT) {
        push_wait(s, marks[(size_t)n.mark]);
    } else {
        expect_live(n);
        push(s, std::unique_ptr<work>(new work{n.name, n.run, {}, n.uses, false, {}}));
    }
}

cudaError_t launch(executable *x, stream *s) {
    if (s->device != x->what.devices[0])
        fail("cudaGraphLaunch: a graph of device %d on a stream of device %d", x->what.devices[0], s->device);
    if (break_capture_of(s)) return cudaErrorStreamCaptureUnsupported;
    cudaError_t error = device_error(s->device);
    if (error != cudaSuccess) return error;
    std::vector<moment_ref> marks((size_t)x->what.marks);
    if (x->last) push_wait(s, x->last); /* a graph does not run at the same time as itself */
    for (const node &n : x->what.nodes) push_node(n, n.chain == 0 ? s : x->inner[(size_t)n.chain - 1], marks);
    x->last = push_mark(s);
    return cudaSuccess;
}

cudaError_t destroy(executable *x) {
    int ordinal = x->what.devices[0];
    {
        unseen hidden;
        if (device_error(ordinal) == cudaSuccess && !has_come(x->last))
            fail("cudaGraphExecDestroy: destroyed in flight");
        wait_for(x->last);
    }
    remove_object("cudaGraphExec_t", x);
    for (stream *s : x->inner) close_stream(s);
    unseen hidden;
    delete x;
    return device_error(ordinal);
}

/* Events are no nodes. */
cudaError_t nodes(const graph *g, cudaGraphNode_t *to, size_t *count) {
    size_t found = 0, room = to ? *count : 0;
    for (const node &n : g->nodes) {
        if (n.kind != node::WORK) continue;
        if (found < room) to[found] = reinterpret_cast<cudaGraphNode_t>(const_cast<node *>(&n));
        found++;
    }
    *count = to ? std::min(found, room) : found;
    return cudaSuccess;
}

} // namespace

bool is_capturing(stream *s) {
    books locked;
    return (bool)s->captured;
}

cudaError_t capture_work(stream *s, const char *name, const std::vector<allocation *> &uses,
                         const hidden_ref<const function> &run) {
    books locked;
    capture *c = s->captured.get();
    if (c->broken) return cudaErrorStreamCaptureInvalidated;
    c->made.nodes.push_back({node::WORK, s->chain, name, run, uses, 0});
    return cudaSuccess;
}

hidden_ref<capture> capture_mark(stream *s, int *mark) {
    books locked;
    if (capture *c = s->captured.get()) {
        *mark = c->made.marks++;
        c->made.nodes.push_back({node::MARK, s->chain, "mark", {}, {}, *mark});
    }
    return s->captured;
}

cudaError_t capture_wait(stream *s, const hidden_ref<capture> &captured, int mark) {
    books locked;
    capture *c = captured.get();
    if (c->ended) return cudaErrorCapturedEvent;
    if (s->captured && s->captured.get() != c) return cudaErrorStreamCaptureIsolation;
    if (!s->captured) join(c, s, captured);
    c->made.nodes.push_back({node::WAIT, s->chain, "wait", {}, {}, mark});
    return cudaSuccess;
}

bool break_capture_of(stream *s) {
    books locked;
    if (!s->captured) return false;
    s->captured->broken = true;
    return true;
}

bool break_captures() {
    books locked;
    bool any = false;
    for (capture *c : open_captures()) {
        bool counts = c->mode == cudaStreamCaptureModeGlobal ||
                      (c->mode == cudaStreamCaptureModeThreadLocal && c->owner == std::this_thread::get_id());
        c->broken |= counts;
        any |= counts;
    }
    return any;
}

} // namespace emulator

using emulator::call;
using emulator::entry;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return call(entry::cudaStreamBeginCapture, [&] { return emulator::begin(stream, mode); });
}

/* Made to fail, it ends the capture all the same, and gives no graph. */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *handle) {
    emulator::graph *made = nullptr;
    cudaError_t error = call(entry::cudaStreamEndCapture, [&] { return emulator::end(stream, &made); });
    if (made) emulator::add_object("cudaGraph_t", made);
    if (made && error != cudaSuccess) {
        emulator::destroy_graph(made);
        made = nullptr;
    }
    *handle = reinterpret_cast<cudaGraph_t>(made);
    return error;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    return call(entry::cudaStreamIsCapturing, [&] { return emulator::state(stream, status); });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *handle, cudaGraph_t graph, unsigned long long) {
    return call(entry::cudaGraphInstantiate,
                [&] { return emulator::instantiate(handle, emulator::expect_graph(graph)); });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
    return call(entry::cudaGraphLaunch, [&] {
        return emulator::launch(emulator::expect_executable(handle),
                                emulator::expect_stream(stream, "cudaGraphLaunch"));
    });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
    return call(entry::cudaGraphExecDestroy,
                [&] { return emulator::destroy(emulator::expect_executable(handle)); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return call(entry::cudaGraphDestroy,
                [&] { return emulator::destroy_graph(emulator::expect_graph(graph)), cudaSuccess; });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    return call(entry::cudaGraphGetNodes,
                [&] { return emulator::nodes(emulator::expect_graph(graph), nodes, count); });
}
}
