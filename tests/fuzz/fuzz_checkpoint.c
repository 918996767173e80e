/* Checkpoints. Input: eight bytes are put before it when its first byte is odd, so that the header's length
 * is right and the fuzzer gets at what is behind it. Whatever opens must read whole, and write and read
 * again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "fuzz/fuzz.h"
#include "train/checkpoint.h"

static char path[64], copy[64];

static void clean_up(void) {
    unlink(path);
    unlink(copy);
}

static void write_input(const uint8_t *data, size_t size) {
    if (size && data[0] & 1) {
        /* "{...}" ends the header at the last closing brace */
        size_t end = size;
        while (end > 1 && data[end - 1] != '}') end--;
        uint8_t *file = malloc(size + 8);
        FUZZ_CHECK(file);
        for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)(end - 1) >> (8 * i));
        memcpy(file + 8, data + 1, size - 1);
        FUZZ_CHECK(lam_file_write(path, file, size + 7) == LAM_OK);
        free(file);
    } else {
        FUZZ_CHECK(lam_file_write(path, data + (size > 0), size - (size > 0)) == LAM_OK);
    }
}

/* The same tensors in a new file. */
static void write_copy(const struct lam_checkpoint *from) {
    struct lam_checkpoint_writer *writer;
    FUZZ_CHECK(lam_checkpoint_create(copy, &writer) == LAM_OK);
    for (int i = 0; i < lam_checkpoint_size(from); i++) {
        const struct lam_checkpoint_tensor *t = lam_checkpoint_get(from, i);
        FUZZ_CHECK(lam_checkpoint_find(from, t->name) == i);
        FUZZ_CHECK(lam_checkpoint_declare(writer, t->name, t->dtype, t->shape) == LAM_OK);
    }
    for (int i = 0; i < lam_checkpoint_size(from); i++) {
        size_t bytes = (size_t)lam_checkpoint_get(from, i)->bytes;
        void *data = malloc(bytes + 1);
        FUZZ_CHECK(data && lam_checkpoint_read(from, i, data, bytes) == LAM_OK);
        FUZZ_CHECK(lam_checkpoint_write(writer, data, bytes) == LAM_OK);
        free(data);
    }
    FUZZ_CHECK(lam_checkpoint_commit(writer) == LAM_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*path) {
        const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(path, sizeof path, "%s/lamina-fuzz-%d-a", folder, (int)getpid());
        snprintf(copy, sizeof copy, "%s/lamina-fuzz-%d-b", folder, (int)getpid());
        atexit(clean_up);
    }
    write_input(data, size);
    struct lam_checkpoint *checkpoint = NULL, *again = NULL;
    if (lam_checkpoint_open(path, &checkpoint) != LAM_OK) return 0;
    lam_checkpoint_find_text(checkpoint, "recipe");
    write_copy(checkpoint);
    FUZZ_CHECK(lam_checkpoint_open(copy, &again) == LAM_OK);
    FUZZ_CHECK(lam_checkpoint_size(again) == lam_checkpoint_size(checkpoint));
    lam_checkpoint_close(again);
    lam_checkpoint_close(checkpoint);
    return 0;
}
