/* TensorBoard's record files. Each record is put together in memory and written with one write(), so a reader
 * that follows the file sees whole records. */
#include "train/events.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"
#include "train/tensorboard.pb-c.h"

struct lam_events {
    char *path;
    int fd;
};

/* ---- CRC-32C ---- */

static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
        crc_table[i] = c;
    }
}

uint32_t lam_crc32c(const void *data, size_t size) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_crc_table);
    const uint8_t *bytes = data;
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) c = crc_table[(c ^ bytes[i]) & 0xFF] ^ c >> 8;
    return ~c;
}

uint32_t lam_crc32c_masked(const void *data, size_t size) {
    uint32_t c = lam_crc32c(data, size);
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

/* ---- records ---- */

static void put_little(uint8_t *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static lam_status write_all(const struct lam_events *events, const uint8_t *data, size_t size) {
    off_t before = lseek(events->fd, 0, SEEK_CUR);
    ssize_t put;
    do put = write(events->fd, data, size);
    while (put < 0 && errno == EINTR);
    if (put == (ssize_t)size) return LAM_OK;
    int reason = put < 0 ? errno : ENOSPC;
    if (ftruncate(events->fd, before) == 0) lseek(events->fd, before, SEEK_SET);
    return lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", events->path, strerror(reason));
}

/* length (8), its checksum (4), the event, its checksum (4) */
static lam_status write_event(const struct lam_events *events, LamTb__Event *event) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    event->wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    size_t size = lam_tb__event__get_packed_size(event);
    uint8_t *record = malloc(size + 16);
    if (!record) return lam_no_memory();
    put_little(record, size, 8);
    put_little(record + 8, lam_crc32c_masked(record, 8), 4);
    lam_tb__event__pack(event, record + 12);
    put_little(record + 12 + size, lam_crc32c_masked(record + 12, size), 4);
    lam_status status = write_all(events, record, size + 16);
    free(record);
    return status;
}

static lam_status write_start(const struct lam_events *events, uint64_t first_step) {
    LamTb__Event version = LAM_TB__EVENT__INIT;
    version.what_case = LAM_TB__EVENT__WHAT_FILE_VERSION;
    version.file_version = (char[]){"brain.Event:2"};
    LAM_TRY(write_event(events, &version));
    if (first_step == 0) return LAM_OK;
    LamTb__SessionLog log = LAM_TB__SESSION_LOG__INIT;
    log.status = LAM_TB__SESSION_LOG__STATUS__START;
    LamTb__Event start = LAM_TB__EVENT__INIT;
    start.step = (int64_t)first_step;
    start.what_case = LAM_TB__EVENT__WHAT_SESSION_LOG;
    start.session_log = &log;
    return write_event(events, &start);
}

static lam_status write_value(const struct lam_events *events, uint64_t step, LamTb__Value *value) {
    LamTb__Summary summary = LAM_TB__SUMMARY__INIT;
    summary.n_value = 1;
    summary.value = &value;
    LamTb__Event event = LAM_TB__EVENT__INIT;
    event.step = (int64_t)step;
    event.what_case = LAM_TB__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(events, &event);
}

/* ---- the file ---- */

lam_status lam_events_open(const char *folder, uint64_t first_step, struct lam_events **events) {
    char host[128] = "host";
    gethostname(host, sizeof host - 1);
    struct lam_events *e = calloc(1, sizeof *e);
    if (!e) return lam_no_memory();
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    e->path = lam_format("%s/events.out.tfevents.%010lld.%s.%d", folder, (long long)now.tv_sec, host,
                         (int)getpid());
    e->fd = e->path ? open(e->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    lam_status status = LAM_OK;
    if (!e->path)
        status = lam_no_memory();
    else if (e->fd < 0)
        status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", e->path, strerror(errno));
    if (status == LAM_OK) status = write_start(e, first_step);
    if (status != LAM_OK) {
        lam_events_close(e);
        return status;
    }
    *events = e;
    return LAM_OK;
}

lam_status lam_events_close(struct lam_events *events) {
    if (!events) return LAM_OK;
    lam_status status = LAM_OK;
    if (events->fd >= 0 && close(events->fd) != 0)
        status = lam_fail(LAM_ERR_IO, "%s: cannot be written: %s", events->path, strerror(errno));
    free(events->path);
    free(events);
    return status;
}

lam_status lam_events_scalar(struct lam_events *events, uint64_t step, const char *name, double value) {
    LamTb__Value scalar = LAM_TB__VALUE__INIT;
    scalar.tag = (char *)name;
    scalar.value_case = LAM_TB__VALUE__VALUE_SIMPLE;
    scalar.simple = (float)value;
    return write_value(events, step, &scalar);
}

lam_status lam_events_image(struct lam_events *events, uint64_t step, const char *name,
                            const struct lam_image *image) {
    uint8_t *png;
    size_t size;
    LAM_TRY(lam_image_encode_png(image, &png, &size));
    LamTb__Image picture = LAM_TB__IMAGE__INIT;
    picture.height = image->height;
    picture.width = image->width;
    picture.colorspace = image->channels;
    picture.encoded = (ProtobufCBinaryData){.len = size, .data = png};
    LamTb__Value value = LAM_TB__VALUE__INIT;
    value.tag = (char *)name;
    value.value_case = LAM_TB__VALUE__VALUE_IMAGE;
    value.image = &picture;
    lam_status status = write_value(events, step, &value);
    free(png);
    return status;
}
