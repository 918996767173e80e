#include "tasks/common/classes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"

/* ---- sets ---- */

static void tell_left_out(const struct lam_dataset *set, const char *text, enum lam_split split) {
    if (set->left_out)
        lam_log(LAM_LOG_NOTICE, "%s: %lld of %lld %s samples left out; lamina check --data %s lists them",
                text, (long long)set->left_out, (long long)(set->left_out + set->count),
                split == LAM_SPLIT_TRAIN ? "training" : "validation", text);
}

lam_status task_open_set(const struct lam_config *config, struct lam_dataset_options options,
                         const char *text, enum lam_split split, struct lam_dataset **set) {
    options.seed = (uint64_t)config->seed;
    options.skip_bad = config->on_bad == LAM_ON_BAD_SKIP;
    lam_status status = lam_dataset_open(text, split, &options, set);
    if (status != LAM_OK) return lam_fail_in(status, text == config->val ? "--val" : "--data");
    tell_left_out(*set, text, split);
    return LAM_OK;
}

lam_status task_open_val(const struct lam_config *config, struct lam_dataset_options options,
                         const struct lam_dataset *train, struct lam_dataset **val) {
    const char *text = *config->val ? config->val : config->data;
    if (!*config->val && !train->has_own_val)
        return lam_fail(LAM_ERR_INVALID, "%s: has no test or validation part; give --val FORMAT:PATH", text);
    return task_open_set(config, options, text, LAM_SPLIT_VAL, val);
}

/* ---- classes ---- */

static bool is_utf8(const char *name) {
    json_t *text = json_string(name);
    bool good = text != NULL;
    json_decref(text);
    return good;
}

static lam_status copy_names(const struct lam_dataset *set, const char *text, struct task_classes *classes) {
    for (int i = 0; i < set->classes; i++, classes->count++) {
        char *name = set->class_names ? strdup(set->class_names[i]) : lam_format("%d", i);
        if (!name) return lam_no_memory();
        classes->names[i] = name;
        if (is_utf8(name)) continue;
        classes->count++;
        return lam_fail(LAM_ERR_UNSUPPORTED, "%s: the class name '%s' is not UTF-8; rename the class", text,
                        name);
    }
    return LAM_OK;
}

lam_status task_classes_of(const struct lam_dataset *set, const char *text, struct task_classes *classes) {
    struct task_classes made = {.names = calloc((size_t)set->classes + 1, sizeof *made.names)};
    lam_status status = made.names ? copy_names(set, text, &made) : lam_no_memory();
    if (status != LAM_OK)
        task_classes_free(&made);
    else
        *classes = made;
    return status;
}

void task_classes_free(struct task_classes *classes) {
    for (int i = 0; classes->names && i < classes->count; i++) free(classes->names[i]);
    free(classes->names);
    *classes = (struct task_classes){0};
}

/* Names that say more than the number of the class. */
static bool has_names(char *const *names, int count) {
    char number[16];
    for (int i = 0; names && i < count; i++) {
        snprintf(number, sizeof number, "%d", i);
        if (strcmp(names[i], number) != 0) return true;
    }
    return false;
}

lam_status task_classes_compare(const char *text, char *const *names, int count,
                                const struct task_classes *own) {
    if (count != own->count)
        return lam_fail(LAM_ERR_INVALID, "%s: has %d classes, the network has %d", text, count, own->count);
    if (!has_names(names, count) || !has_names(own->names, count)) return LAM_OK;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], own->names[i]) != 0)
            return lam_fail(LAM_ERR_INVALID, "%s: class %d is '%s' there, '%s' in the network", text, i,
                            names[i], own->names[i]);
    return LAM_OK;
}

/* ---- in a checkpoint ---- */

lam_status task_classes_save(const struct task_classes *classes, struct lam_checkpoint_writer *writer) {
    json_t *names = json_array();
    for (int i = 0; i < classes->count; i++) json_array_append_new(names, json_string(classes->names[i]));
    char *text = json_dumps(names, JSON_COMPACT);
    json_decref(names);
    if (!text) return lam_no_memory();
    lam_status status = lam_checkpoint_text(writer, "class_names", text);
    free(text);
    return status;
}

static lam_status copy_texts(const json_t *texts, struct task_classes *classes) {
    size_t index;
    json_t *text;
    json_array_foreach(texts, index, text) {
        const char *name = json_string_value(text);
        classes->names[index] = name ? strdup(name) : lam_format("%d", (int)index);
        if (!classes->names[index]) return lam_no_memory();
    }
    return LAM_OK;
}

lam_status task_classes_read(const struct lam_checkpoint *from, const char *program,
                             struct task_classes *classes) {
    const char *text = lam_checkpoint_find_text(from, "class_names");
    json_t *texts = text ? json_loads(text, 0, NULL) : NULL;
    size_t count = json_array_size(texts);
    if (count < 1 || count > 1000000) {
        json_decref(texts);
        return lam_fail(LAM_ERR_FORMAT, "%s: has no valid 'class_names'; it is not of %s",
                        lam_checkpoint_path(from), program);
    }
    struct task_classes read = {(int)count, calloc(count, sizeof *read.names)};
    lam_status status = read.names ? copy_texts(texts, &read) : lam_no_memory();
    json_decref(texts);
    if (status != LAM_OK)
        task_classes_free(&read);
    else
        *classes = read;
    return status;
}
