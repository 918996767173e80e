/* Notices and warnings: things a user should know that are not failures ("4 devices share 2 cores").
 *
 * The library never prints. A program installs a sink once, before it starts threads:
 *
 *     lam_log_set_sink(print_line, stderr);
 *     ...
 *     lam_log(LAM_LOG_WARNING, "%s: 3 of 500 images are left out", path);
 *
 * Without a sink, lines are dropped. Calls are thread safe; lines reach the sink one at a time.
 */
#ifndef LAM_BASE_LOG_H
#define LAM_BASE_LOG_H

enum lam_log_level { LAM_LOG_NOTICE, LAM_LOG_WARNING };

/* `text` is one line without newline, valid during the call. */
typedef void (*lam_log_sink)(void *context, enum lam_log_level level, const char *text);

void lam_log_set_sink(lam_log_sink sink, void *context); /* NULL: drop */
void lam_log(enum lam_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
