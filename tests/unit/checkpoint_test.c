/* Checkpoints: what is written reads back, and every kind of malformed file is refused with its own line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/files.h"
#include "train/checkpoint.h"

static char path[] = "/tmp/lamina-checkpoint-XXXXXX";

static int make_path(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

static void round_trip(void **state) {
    (void)state;
    struct lam_checkpoint_writer *w;
    float weight[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
    int32_t count = -5;
    assert_int_equal(lam_checkpoint_create(path, &w), LAM_OK);
    assert_int_equal(lam_checkpoint_text(w, "recipe", "a = \"b\"\nü\n"), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "stem.conv.weight", LAM_F32, LAM_SHAPE(2, 3)), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "empty", LAM_U8, LAM_SHAPE(0, 4)), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "count", LAM_I32, LAM_SCALAR), LAM_OK);
    assert_int_equal(lam_checkpoint_write(w, weight, 8), LAM_OK);
    assert_int_equal(lam_checkpoint_write(w, weight + 2, 16), LAM_OK);
    assert_int_equal(lam_checkpoint_write(w, &count, 4), LAM_OK);
    assert_int_equal(lam_checkpoint_commit(w), LAM_OK);

    struct lam_checkpoint *c;
    assert_int_equal(lam_checkpoint_open(path, &c), LAM_OK);
    assert_int_equal(lam_checkpoint_size(c), 3);
    assert_string_equal(lam_checkpoint_find_text(c, "recipe"), "a = \"b\"\nü\n");
    assert_null(lam_checkpoint_find_text(c, "nothing"));
    int i = lam_checkpoint_find(c, "stem.conv.weight");
    const struct lam_checkpoint_tensor *t = lam_checkpoint_get(c, i);
    assert_true(t->dtype == LAM_F32 && lam_shape_equal(t->shape, LAM_SHAPE(2, 3)) && t->bytes == 24);
    assert_int_equal(t->offset % 8, 0);
    float back[6];
    assert_int_equal(lam_checkpoint_read(c, i, back, sizeof back), LAM_OK);
    assert_memory_equal(back, weight, sizeof weight);
    int32_t number;
    assert_int_equal(lam_checkpoint_read(c, lam_checkpoint_find(c, "count"), &number, 4), LAM_OK);
    assert_int_equal(number, -5);
    assert_int_equal(lam_checkpoint_read(c, i, back, 20), LAM_ERR_FORMAT);
    assert_int_equal(lam_checkpoint_find(c, "stem"), -1);
    lam_checkpoint_close(c);
}

static void writer_guards(void **state) {
    (void)state;
    struct lam_checkpoint_writer *w;
    assert_int_equal(lam_file_write(path, "old", 3), LAM_OK);
    assert_int_equal(lam_checkpoint_create(path, &w), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "a", LAM_F32, LAM_SHAPE(2)), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "a", LAM_F32, LAM_SHAPE(2)), LAM_ERR_INTERNAL);
    assert_int_equal(lam_checkpoint_text(w, "k", "\xff\xfe"), LAM_ERR_INVALID);
    assert_int_equal(lam_checkpoint_write(w, "12345678", 8), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "b", LAM_F32, LAM_SHAPE(2)), LAM_ERR_INTERNAL);
    assert_int_equal(lam_checkpoint_write(w, "1", 1), LAM_ERR_INTERNAL);
    lam_checkpoint_abandon(w);
    assert_int_equal(lam_checkpoint_create(path, &w), LAM_OK);
    assert_int_equal(lam_checkpoint_declare(w, "a", LAM_F32, LAM_SHAPE(2)), LAM_OK);
    assert_int_equal(lam_checkpoint_commit(w), LAM_ERR_INTERNAL); /* declared, never written */
    uint8_t *data;
    size_t size;
    assert_int_equal(lam_file_read(path, &data, &size), LAM_OK);
    assert_string_equal((char *)data, "old");
    free(data);
}

/* Header of the given text, with `data` bytes behind it. */
static void write_raw(const char *header, uint64_t claimed, size_t data) {
    size_t length = strlen(header);
    uint8_t *file = calloc(1, 8 + length + data);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(claimed >> (8 * i));
    memcpy(file + 8, header, length);
    assert_int_equal(lam_file_write(path, file, 8 + length + data), LAM_OK);
    free(file);
}

#define T(name, dtype, shape, offsets)                                                                       \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void malformed(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *error;
    } cases[] = {
        {"{" T("a", "F32", "[2]", "[0,8]"), 8, "the header is not a JSON object"},
        {"[1]", 0, "the header is not a JSON object"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("a", "F32", "[2]", "[0,8]") "}", 8, "duplicate object key"},
        {"{\"a\":3}", 0, "tensor 'a': is not an object"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"epoch\":3}}", 0, "__metadata__ 'epoch' is not a text"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has no dtype"},
        {"{" T("a", "F64", "[1]", "[0,8]") "}", 8, "type 'F64' is not one of"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "has no shape"},
        {"{" T("a", "F32", "[1,1,1,1,1,2]", "[0,8]") "}", 8, "has 6 dimensions"},
        {"{" T("a", "F32", "[-2]", "[0,8]") "}", 8, "a dimension is not a whole number"},
        {"{" T("a", "F32", "[2.0]", "[0,8]") "}", 8, "a dimension is not a whole number"},
        {"{" T("a", "F32", "[4611686018427387904,4]", "[0,8]") "}", 8, "needs more bytes than the file has"},
        {"{" T("a", "F32", "[65536,65536,65536,65536]", "[0,0]") "}", 8,
         "needs more bytes than the file has"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "has no data_offsets"},
        {"{" T("a", "F32", "[2]", "[0]") "}", 8, "has no data_offsets"},
        {"{" T("a", "F32", "[2]", "[0,8.5]") "}", 8, "has no data_offsets"},
        {"{" T("a", "F32", "[2]", "[8,0]") "}", 8, "not ascending"},
        {"{" T("a", "F32", "[2]", "[-8,0]") "}", 8, "not ascending"},
        {"{" T("a", "F32", "[2]", "[0,9223372036854775807]") "}", 8, "behind the end of the file"},
        {"{" T("a", "F32", "[2]", "[8,16]") "}", 8, "behind the end of the file"},
        {"{" T("a", "F32", "[3]", "[0,8]") "}", 8, "do not fit its shape"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[4,12]") "}", 12, "overlaps"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[0,8]") "}", 8, "overlaps"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[12,20]") "}", 20, "a gap in front"},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 9, "has 1 bytes behind its last tensor"},
        {"{}", 3, "has 3 bytes behind its last tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_raw(cases[i].header, strlen(cases[i].header), cases[i].data);
        struct lam_checkpoint *c = NULL;
        lam_status status = lam_checkpoint_open(path, &c);
        if (status == LAM_OK || !strstr(lam_error_text(), cases[i].error) || !strstr(lam_error_text(), path))
            fail_msg("case %zu: %s: got '%s'", i, cases[i].header, lam_error_text());
        assert_int_equal(lam_exit_code(status), 2);
        assert_null(c);
    }
}

/* A good file cut at any byte is refused; so is a header length that lies. */
static void cut_short(void **state) {
    (void)state;
    static const char header[] = "{" T("a", "F32", "[2]", "[0,8]") "}";
    write_raw(header, strlen(header), 8);
    uint8_t *data;
    size_t size;
    struct lam_checkpoint *c;
    assert_int_equal(lam_checkpoint_open(path, &c), LAM_OK);
    lam_checkpoint_close(c);
    assert_int_equal(lam_file_read(path, &data, &size), LAM_OK);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(lam_file_write(path, data, i), LAM_OK);
        assert_int_equal(lam_checkpoint_open(path, &c), LAM_ERR_FORMAT);
    }
    free(data);
    static const uint64_t lies[] = {0, 1, sizeof header + 100, UINT64_MAX, (uint64_t)1 << 63};
    for (int i = 0; i < 5; i++) {
        write_raw(header, lies[i], 8);
        assert_int_equal(lam_checkpoint_open(path, &c), LAM_ERR_FORMAT);
    }
    assert_int_equal(lam_checkpoint_open("/none/a.safetensors", &c), LAM_ERR_NOT_FOUND);
    assert_int_equal(lam_checkpoint_open("/tmp", &c), LAM_ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(writer_guards),
        cmocka_unit_test(malformed),
        cmocka_unit_test(cut_short),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
