/* Ranks that are processes: MPI, as a module that is loaded when it is asked for.
 *
 * All calls of MPI are made under one lock (MPI_THREAD_SERIALIZED) and none waits for a peer but the sending of a word,
 * which is small enough to be sent along at once: whoever waits asks again and again,
 * with longer and longer pauses, so that threads of one rank do not keep each other out, and a wait can end when a peer is
 * gone. Sends are synchronous: they are over when the receiver has begun to take them. */
#include <mpi.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/transport_link.h"

enum { CHUNK = 1 << 30, MOST_REQUESTS = 64, EAGER_TESTS = 50 };
#define SHORTEST_PAUSE 20000  /* nanoseconds */
#define LONGEST_PAUSE  500000 /* nanoseconds */

struct process {
    char host[64];
    int pid;
};

struct mpi {
    pthread_mutex_t mutex;
    MPI_Comm comm;
    int rank, ranks;
    struct process *processes;
};

static lam_status failed(const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return lam_fail(LAM_ERR_DEVICE, "MPI: %s: %s", what, text);
}

/* ---- moving bytes ---- */

struct flight {
    MPI_Request requests[MOST_REQUESTS];
    int count;
};

static lam_status start(struct mpi *m, const struct lam_transfer *t, struct flight *flight) {
    for (size_t done = 0; done < t->bytes; done += CHUNK) {
        int bytes = (int)(t->bytes - done < CHUNK ? t->bytes - done : CHUNK);
        if (flight->count == MOST_REQUESTS) return lam_fail(LAM_ERR_INTERNAL, "a message is too large");
        MPI_Request *request = &flight->requests[flight->count];
        char *data = (char *)t->data + done;
        int code = t->send ? MPI_Issend(data, bytes, MPI_BYTE, t->peer, t->tag, m->comm, request)
                           : MPI_Irecv(data, bytes, MPI_BYTE, t->peer, t->tag, m->comm, request);
        if (code != MPI_SUCCESS) return failed("a transfer could not be started", code);
        flight->count++;
    }
    return LAM_OK;
}

static void pause_after(int tests) {
    if (tests < EAGER_TESTS) {
        sched_yield();
        return;
    }
    long pause = SHORTEST_PAUSE * (long)(tests - EAGER_TESTS + 1);
    nanosleep(&(struct timespec){.tv_nsec = pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE}, NULL);
}

/* A receive is taken back; a send cannot be, and is left to itself: its buffer must stay, as it does in a rank that ends. */
static void give_up(struct mpi *m, struct flight *flight) {
    pthread_mutex_lock(&m->mutex);
    for (int i = 0; i < flight->count; i++) {
        if (flight->requests[i] == MPI_REQUEST_NULL) continue;
        MPI_Cancel(&flight->requests[i]);
        MPI_Request_free(&flight->requests[i]);
    }
    pthread_mutex_unlock(&m->mutex);
}

static lam_status wait_for(struct mpi *m, struct flight *flight, const _Atomic bool *stopped,
                           const _Atomic bool *cancel) {
    for (int tests = 0;; tests++) {
        int done = 0;
        pthread_mutex_lock(&m->mutex);
        int code = MPI_Testall(flight->count, flight->requests, &done, MPI_STATUSES_IGNORE);
        pthread_mutex_unlock(&m->mutex);
        if (code != MPI_SUCCESS) give_up(m, flight);
        if (code != MPI_SUCCESS) return failed("a transfer failed", code);
        if (done) return LAM_OK;
        if (atomic_load(stopped) || atomic_load(cancel)) {
            give_up(m, flight);
            return lam_fail(LAM_ERR_STOPPED, "the ranks were stopped");
        }
        pause_after(tests);
    }
}

static lam_status exchange(void *link, const struct lam_transfer *transfers, int count,
                           const _Atomic bool *stopped, const _Atomic bool *cancel) {
    struct mpi *m = link;
    struct flight flight = {.count = 0};
    lam_status status = LAM_OK;
    pthread_mutex_lock(&m->mutex);
    for (int i = 0; i < count && status == LAM_OK; i++) status = start(m, &transfers[i], &flight);
    pthread_mutex_unlock(&m->mutex);
    if (status == LAM_OK) return wait_for(m, &flight, stopped, cancel);
    give_up(m, &flight);
    return status;
}

/* ---- words ---- */

/* Small enough that MPI sends it along without asking the receiver. */
static void tell(void *link, int to, const struct lam_control *control) {
    struct mpi *m = link;
    size_t bytes = control->word == LAM_CONTROL_FAIL ? sizeof *control : offsetof(struct lam_control, error);
    pthread_mutex_lock(&m->mutex);
    MPI_Send(control, (int)bytes, MPI_BYTE, to, LAM_TAG_CONTROL, m->comm);
    pthread_mutex_unlock(&m->mutex);
}

static bool hear(void *link, struct lam_control *control) {
    struct mpi *m = link;
    int there = 0;
    MPI_Status status;
    memset(control, 0, sizeof *control);
    pthread_mutex_lock(&m->mutex);
    int code = MPI_Iprobe(MPI_ANY_SOURCE, LAM_TAG_CONTROL, m->comm, &there, &status);
    if (code == MPI_SUCCESS && there)
        code = MPI_Recv(control, (int)sizeof *control, MPI_BYTE, status.MPI_SOURCE, LAM_TAG_CONTROL, m->comm,
                        MPI_STATUS_IGNORE);
    pthread_mutex_unlock(&m->mutex);
    control->error.text[sizeof control->error.text - 1] = '\0';
    return code == MPI_SUCCESS && there && control->from >= 0 && control->from < m->ranks;
}

/* A process of this machine that does not exist any more; of others only their silence tells. */
static bool alive(void *link, int rank) {
    const struct mpi *m = link;
    const struct process *self = &m->processes[m->rank], *other = &m->processes[rank];
    return strcmp(self->host, other->host) != 0 || kill(other->pid, 0) == 0 || errno != ESRCH;
}

static void describe(void *link, int rank, char *text, size_t size) {
    const struct process *process = &((struct mpi *)link)->processes[rank];
    snprintf(text, size, "rank %d (process %d on %s)", rank, process->pid, process->host);
}

/* ---- life ---- */

/* Finalize waits for all ranks, so it is left out where one is lost or busy dying. */
static void close_mpi(void *link, bool orderly) {
    struct mpi *m = link;
    if (orderly) MPI_Comm_free(&m->comm);
    if (orderly) MPI_Finalize();
    pthread_mutex_destroy(&m->mutex);
    free(m->processes);
    free(m);
}

static const struct lam_link_ops ops = {exchange, tell, hear, alive, describe, close_mpi};

static lam_status meet(struct mpi *m) {
    struct process self = {.pid = (int)getpid()};
    gethostname(self.host, sizeof self.host - 1);
    int code = MPI_Comm_dup(MPI_COMM_WORLD, &m->comm);
    if (code != MPI_SUCCESS) return failed("a communicator could not be made", code);
    MPI_Comm_set_errhandler(m->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->comm, &m->rank);
    MPI_Comm_size(m->comm, &m->ranks);
    m->processes = calloc((size_t)m->ranks, sizeof *m->processes);
    if (!m->processes) return lam_no_memory();
    code = MPI_Allgather(&self, sizeof self, MPI_BYTE, m->processes, sizeof self, MPI_BYTE, m->comm);
    return code == MPI_SUCCESS ? LAM_OK : failed("the ranks did not meet", code);
}

lam_status lam_mpi_open(struct lam_transport **transport);
lam_status lam_mpi_open(struct lam_transport **transport) {
    int level = 0, done = 0;
    MPI_Initialized(&done);
    if (done) return lam_fail(LAM_ERR_INTERNAL, "MPI can be opened once in a process");
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    if (code != MPI_SUCCESS) return failed("could not be started", code);
    if (level < MPI_THREAD_SERIALIZED)
        return lam_fail(LAM_ERR_UNSUPPORTED, "this MPI library was built without threads");
    struct mpi *m = calloc(1, sizeof *m);
    if (!m) return lam_no_memory();
    pthread_mutex_init(&m->mutex, NULL);
    lam_status status = meet(m);
    if (status == LAM_OK) return lam_transport_create(&ops, m, m->rank, m->ranks, transport);
    close_mpi(m, false);
    return status;
}
