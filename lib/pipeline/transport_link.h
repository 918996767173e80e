/* What a kind of transport supplies to transport.c: moving bytes, and whether a peer lives. */
#ifndef LAM_PIPELINE_TRANSPORT_LINK_H
#define LAM_PIPELINE_TRANSPORT_LINK_H

#include "pipeline/transport.h"

enum { LAM_TAG_CONTROL = LAM_TAGS };

/* A word from one rank's transport to another's. */
struct lam_control {
    enum { LAM_CONTROL_BEAT, LAM_CONTROL_FAIL, LAM_CONTROL_STOP, LAM_CONTROL_BYE } word;
    int from;
    struct lam_error error; /* FAIL */
};

struct lam_transfer {
    bool send;
    int peer, tag;
    void *data;
    size_t bytes;
};

struct lam_link_ops {
    /* Starts all transfers and waits for them. LAM_ERR_STOPPED when one of the two flags turns true. */
    lam_status (*exchange)(void *link, const struct lam_transfer *transfers, int count,
                           const _Atomic bool *stopped, const _Atomic bool *cancel);
    /* Does not wait for the peer to hear it: a word is small. To a peer that is gone it is lost. */
    void (*tell)(void *link, int to, const struct lam_control *control);
    /* Takes one word, if there is one. */
    bool (*hear)(void *link, struct lam_control *control);
    /* false: it is known to be dead. */
    bool (*alive)(void *link, int rank);
    /* "rank 1 (pid 4711 on host)" */
    void (*describe)(void *link, int rank, char *text, size_t size);
    /* orderly: all ranks are closing. */
    void (*close)(void *link, bool orderly);
};

/* Takes the link over, also on failure. */
lam_status lam_transport_create(const struct lam_link_ops *ops, void *link, int rank, int ranks,
                                struct lam_transport **transport);

/* The function that the MPI module exports under this name. */
#define LAM_MPI_OPEN "lam_mpi_open"
typedef lam_status (*lam_mpi_open_function)(struct lam_transport **transport);

#endif
