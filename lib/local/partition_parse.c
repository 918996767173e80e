/* Cuts written by hand: "3,7,11" or "layer1.2,layer2.1", or with devices: "3,7/11", "3,7,11/". */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "local/partition_runs.h"

/* [text, text + length) without the blanks around it. */
struct entry {
    char text[96];
    int number; /* from 1 */
};

static lam_status copy_entry(const char *text, size_t length, struct entry *entry) {
    while (length && isspace((unsigned char)*text)) text++, length--;
    while (length && isspace((unsigned char)text[length - 1])) length--;
    if (!length)
        return lam_fail(LAM_ERR_INVALID, "entry %d of the partition is empty; write last units as \"3,7,11\"",
                        entry->number);
    if (length >= sizeof entry->text)
        return lam_fail(LAM_ERR_INVALID, "entry %d of the partition, '%.60s...', is too long for a unit",
                        entry->number, text);
    memcpy(entry->text, text, length);
    entry->text[length] = 0;
    return LAM_OK;
}

static bool is_number(const char *text) {
    if (*text == '-' || *text == '+') text++;
    if (!*text) return false;
    while (isdigit((unsigned char)*text)) text++;
    return !*text;
}

static lam_status no_such_unit(const struct entry *entry, const struct lam_partition_problem *problem) {
    const char *near =
        problem->unit_names ? lam_nearest(entry->text, problem->unit_names, problem->units - 1) : NULL;
    if (near)
        return lam_fail(LAM_ERR_NOT_FOUND, "entry %d of the partition, '%s': no such unit; did you mean %s?",
                        entry->number, entry->text, near);
    if (problem->unit_names)
        return lam_fail(
            LAM_ERR_NOT_FOUND,
            "entry %d of the partition, '%s': no such unit; it may be a number from 0 to %d or a name "
            "from %s to %s",
            entry->number, entry->text, problem->units - 2, problem->unit_names[0],
            problem->unit_names[problem->units - 2]);
    return lam_fail(LAM_ERR_NOT_FOUND, "entry %d of the partition, '%s': not a number from 0 to %d",
                    entry->number, entry->text, problem->units - 2);
}

/* A name goes before a number: units may be called 0, 1, ... */
static lam_status find_unit(const struct entry *entry, const struct lam_partition_problem *problem,
                            int *unit) {
    for (int u = 0; u < problem->units && problem->unit_names; u++)
        if (!strcmp(entry->text, problem->unit_names[u])) {
            *unit = u;
            return LAM_OK;
        }
    if (!is_number(entry->text)) return no_such_unit(entry, problem);
    long value = strtol(entry->text, NULL, 10); /* saturates, which is out of range too */
    if (value < 0 || value > problem->units - 1)
        return lam_fail(LAM_ERR_INVALID, "entry %d of the partition, '%s': must be from 0 to %d",
                        entry->number, entry->text, problem->units - 2);
    *unit = (int)value;
    return LAM_OK;
}

static lam_status check_place(const struct entry *entry, const struct lam_partition_problem *problem,
                              int before, int unit) {
    if (unit <= before)
        return lam_fail(
            LAM_ERR_INVALID,
            "entry %d of the partition, '%s': unit %d does not come after unit %d of the entry before it; "
            "last units must rise",
            entry->number, entry->text, unit, before);
    if (unit == problem->units - 1)
        return lam_fail(
            LAM_ERR_INVALID,
            "entry %d of the partition, '%s': this is the last unit, so no unit would be left for the last "
            "block; name the last units of all blocks but the last, at most %d",
            entry->number, entry->text, problem->units - 2);
    if (problem->may_cut && !problem->may_cut[unit])
        return lam_fail(LAM_ERR_UNSUPPORTED,
                        "entry %d of the partition, '%s': the network cannot be cut behind this unit",
                        entry->number, entry->text);
    return LAM_OK;
}

static lam_status read_entry(const char *text, size_t length, const struct lam_partition_problem *problem,
                             int *last_unit, int count) {
    struct entry entry = {.number = count + 1};
    LAM_TRY(copy_entry(text, length, &entry));
    if (problem->units == 1)
        return lam_fail(LAM_ERR_INVALID, "entry %d of the partition, '%s': a single unit cannot be cut",
                        entry.number, entry.text);
    if (count >= LAM_MAX_BLOCKS - 1)
        return lam_fail(LAM_ERR_INVALID, "entry %d of the partition, '%s': more than %d blocks", entry.number,
                        entry.text, LAM_MAX_BLOCKS);
    LAM_TRY(find_unit(&entry, problem, &last_unit[count]));
    return check_place(&entry, problem, count ? last_unit[count - 1] : -1, last_unit[count]);
}

/* A list: last units of all blocks but the last, and the device of each block where slashes tell them. */
struct cuts {
    int last_unit[LAM_MAX_BLOCKS], device[LAM_MAX_BLOCKS];
    int count, slashes;
};

static lam_status read_cuts(const char *text, const struct lam_partition_problem *problem,
                            struct cuts *cuts) {
    bool more = text[strspn(text, " \t")] != 0;
    while (more) {
        size_t length = strcspn(text, ",/");
        LAM_TRY(read_entry(text, length, problem, cuts->last_unit, cuts->count));
        cuts->device[cuts->count++] = cuts->slashes;
        more = text[length] == ',' || (text[length] == '/' && text[length + 1]);
        cuts->slashes += text[length] == '/';
        text += length + 1;
    }
    cuts->device[cuts->count] = cuts->slashes; /* of the last block */
    return LAM_OK;
}

/* Devices as they were given. */
static lam_status take_devices(const struct cuts *cuts, const struct lam_partition_problem *problem,
                               struct lam_partition *partition) {
    struct lam_partition_search search;
    struct lam_partition_problem listed = *problem;
    listed.blocks = cuts->count + 1;
    if (cuts->slashes + 1 != problem->devices)
        return lam_fail(LAM_ERR_INVALID, "the partition's slashes make parts for %d devices, but there %s %d",
                        cuts->slashes + 1, problem->devices == 1 ? "is" : "are", problem->devices);
    LAM_TRY(lam_partition_prepare(&listed, &search));
    int last_unit[LAM_MAX_BLOCKS];
    memcpy(last_unit, cuts->last_unit, sizeof last_unit);
    last_unit[cuts->count] = problem->units - 1;
    lam_partition_fill_in(&listed, last_unit, cuts->device, partition);
    return LAM_OK;
}

lam_status lam_partition_parse(const char *text, const struct lam_partition_problem *problem,
                               struct lam_partition *partition) {
    if (problem->units < 1 || problem->units > LAM_MAX_UNITS)
        return lam_fail(LAM_ERR_INVALID, "%d units cannot be partitioned; 1 to %d can", problem->units,
                        LAM_MAX_UNITS);
    struct cuts cuts = {.count = 0};
    LAM_TRY(read_cuts(text, problem, &cuts));
    if (problem->blocks && problem->blocks != cuts.count + 1)
        return lam_fail(LAM_ERR_INVALID,
                        "the partition's %d last unit%s make %d block%s, but %d were asked for", cuts.count,
                        cuts.count == 1 ? "" : "s", cuts.count + 1, cuts.count ? "s" : "", problem->blocks);
    if (cuts.slashes) return take_devices(&cuts, problem, partition);
    struct lam_partition_problem listed = *problem;
    listed.blocks = cuts.count + 1;
    return lam_partition_fixed(cuts.last_unit, &listed, partition);
}

char *lam_partition_text(const struct lam_partition *partition) {
    char text[LAM_MAX_BLOCKS * 5] = "";
    size_t used = 0;
    for (int b = 0; b + 1 < partition->blocks; b++) {
        bool moves = partition->device[b + 1] != partition->device[b], ends = b + 2 == partition->blocks;
        const char *behind = moves ? "/" : ends ? "" : ",";
        used += (size_t)snprintf(text + used, sizeof text - used, "%d%s", partition->last_unit[b], behind);
    }
    return strdup(text);
}
