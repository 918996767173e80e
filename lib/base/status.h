/* Statuses and error text.
 *
 * A function that can fail returns a lam_status; on failure nothing has changed and the calling thread's
 * error text says what, where, and what to do, in one line without a final full stop or newline:
 *
 *     if (size % 3073 != 0)
 *         return lam_fail(LAM_ERR_FORMAT, "%s: %zu bytes is not a multiple of 3073; is this a CIFAR-10
 * file?", path, size);
 *     ...
 *     LAM_TRY(lam_file_read(path, &data, &size));     // hands a failure on unchanged
 *     ...
 *     fprintf(stderr, "classify-train: %s\n", lam_error_text());
 *     return lam_exit_code(status);
 *
 * The text is per thread. A worker hands its error to another thread with lam_error_save / lam_error_restore.
 */
#ifndef LAM_BASE_STATUS_H
#define LAM_BASE_STATUS_H

#include <stddef.h>

/* X(suffix, name, exit status of a program that ends with it) */
#define LAM_STATUS_TABLE(X)                                                                                  \
    X(OK, "ok", 0)                                                                                           \
    X(ERR_INVALID, "invalid argument", 2)  /* an option, argument or shape that makes no sense */            \
    X(ERR_NOT_FOUND, "not found", 2)       /* a file, name, device or format that does not exist */          \
    X(ERR_FORMAT, "malformed input", 2)    /* a file whose content is wrong */                               \
    X(ERR_UNSUPPORTED, "unsupported", 2)   /* well formed, but not something that Lamina does */             \
    X(ERR_MEMORY_LIMIT, "memory limit", 2) /* a plan that does not fit a device's limit */                   \
    X(ERR_NO_MEMORY, "out of memory", 1)   /* the system has no memory left */                               \
    X(ERR_IO, "input/output error", 1)     /* a read, write, sync or rename that failed */                   \
    X(ERR_NOT_FINITE, "not finite", 1)     /* NaN or infinity in a loss, gradient or parameter */            \
    X(ERR_DEVICE, "device error", 1)       /* a vendor library or driver failed */                           \
    X(ERR_STOPPED, "stopped", 130)         /* a signal asked for the end, state is saved */                  \
    X(ERR_INTERNAL, "internal error", 1)   /* a defect of Lamina itself */

typedef enum lam_status {
#define LAM_STATUS_ENUM(suffix, name, code) LAM_##suffix,
    LAM_STATUS_TABLE(LAM_STATUS_ENUM)
#undef LAM_STATUS_ENUM
} lam_status;

#define LAM_TRY(call)                                                                                        \
    do {                                                                                                     \
        lam_status lam_try_status_ = (call);                                                                 \
        if (lam_try_status_ != LAM_OK) return lam_try_status_;                                               \
    } while (0)

/* Records the text of a failure for this thread and returns `status`. */
lam_status lam_fail(lam_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The failure of an allocation: records "out of memory" and returns LAM_ERR_NO_MEMORY. */
lam_status lam_no_memory(void);

/* Puts "prefix: " before this thread's error text (say, the file that was being read); returns `status`. */
lam_status lam_fail_in(lam_status status, const char *prefix);

/* Text of the last failure on this thread, "" if there was none. Valid until the next failure here. */
const char *lam_error_text(void);

/* Short name of a status; never NULL. */
const char *lam_status_name(lam_status status);

/* Exit status of a program that ends with `status`: 0, 1, 2 or 130. */
int lam_exit_code(lam_status status);

/* An error carried between threads. */
struct lam_error {
    lam_status status;
    char text[1024];
};
void lam_error_save(struct lam_error *error, lam_status status);
lam_status lam_error_restore(const struct lam_error *error);

#endif
