#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char error_text[1024];

lam_status lam_fail(lam_status status, const char *format, ...) {
    char text[sizeof error_text]; /* arguments may point into error_text */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(error_text, text, sizeof text);
    return status;
}

lam_status lam_no_memory(void) {
    return lam_fail(LAM_ERR_NO_MEMORY, "out of memory");
}

lam_status lam_fail_in(lam_status status, const char *prefix) {
    char text[sizeof error_text];
    memcpy(text, error_text, sizeof text);
    snprintf(error_text, sizeof error_text, "%.300s: %.700s", prefix, text);
    return status;
}

const char *lam_error_text(void) {
    return error_text;
}

const char *lam_status_name(lam_status status) {
    switch (status) {
#define LAM_STATUS_NAME(suffix, name, code)                                                                  \
    case LAM_##suffix:                                                                                       \
        return name;
        LAM_STATUS_TABLE(LAM_STATUS_NAME)
#undef LAM_STATUS_NAME
    }
    return "unknown status";
}

int lam_exit_code(lam_status status) {
    switch (status) {
#define LAM_STATUS_CODE(suffix, name, code)                                                                  \
    case LAM_##suffix:                                                                                       \
        return code;
        LAM_STATUS_TABLE(LAM_STATUS_CODE)
#undef LAM_STATUS_CODE
    }
    return 1;
}

void lam_error_save(struct lam_error *error, lam_status status) {
    error->status = status;
    memcpy(error->text, error_text, sizeof error->text);
}

lam_status lam_error_restore(const struct lam_error *error) {
    memcpy(error_text, error->text, sizeof error_text);
    return error->status;
}
