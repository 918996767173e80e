/* The cache is one file per device and plan: ~/.cache/lamina/tuning-HASH.txt (LAMINA_CACHE or XDG_CACHE_HOME
 * say where else). */
#include "train/tuning_record.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/options_recipe.h"
#include "base/rng.h"

/* The cache's folder; NULL: there is no place for one. */
static char *cache_folder(void) {
    const char *own = getenv("LAMINA_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) return strdup(own);
    if (cache && *cache) return lam_path_join(cache, "lamina");
    return home && *home ? lam_path_join(home, ".cache/lamina") : NULL;
}

static char *cache_path(const struct lam_device *device, const char *plan) {
    char *folder = cache_folder();
    char *key = lam_format("%s|%s|%d|%s", LAMINA_VERSION, lam_device_describe(device),
                           lam_device_lanes(device), plan);
    char *path = folder && key
                     ? lam_format("%s/tuning-%016llx.txt", folder, (unsigned long long)lam_hash_text(key))
                     : NULL;
    free(folder);
    free(key);
    return path;
}

static void load_cache(struct lam_tuning *tuning, const struct lam_device *device, const char *plan) {
    char *path = cache_path(device, plan);
    if (path && lam_tuning_load(tuning, path) != LAM_OK)
        lam_log(LAM_LOG_WARNING, "the tuning cache is left out: %s", lam_error_text());
    free(path);
}

lam_status lam_tuning_record_open(enum lam_tuning_mode mode, const struct lam_device *device,
                                  const char *plan, const struct lam_tuning *recorded, bool use_cache,
                                  struct lam_tuning **tuning) {
    struct lam_tuning *made;
    LAM_TRY(lam_tuning_create(mode, &made));
    if (mode == LAM_TUNING_MEASURE && use_cache) load_cache(made, device, plan);
    lam_status status = LAM_OK;
    for (int i = 0; status == LAM_OK && mode == LAM_TUNING_MEASURE && i < lam_tuning_size(recorded); i++) {
        const char *key = lam_tuning_key(recorded, i);
        status = lam_tuning_set(made, key, lam_tuning_get(recorded, key));
    }
    if (status != LAM_OK)
        lam_tuning_destroy(made);
    else
        *tuning = made;
    return status;
}

void lam_tuning_record_keep(const struct lam_tuning *tuning, const struct lam_device *device,
                            const char *plan) {
    if (lam_tuning_mode(tuning) != LAM_TUNING_MEASURE || lam_tuning_size(tuning) == 0) return;
    char *folder = cache_folder(), *path = cache_path(device, plan);
    if (folder && path && (lam_make_folders(folder) != LAM_OK || lam_tuning_save(tuning, path) != LAM_OK))
        lam_log(LAM_LOG_NOTICE, "measured choices are not kept for later runs: %s", lam_error_text());
    free(folder);
    free(path);
}

lam_status lam_tuning_record_ini(const struct lam_tuning *tuning, char **text) {
    char *made = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&made, &size);
    if (!to) return lam_no_memory();
    bool any = lam_tuning_mode(tuning) == LAM_TUNING_MEASURE && lam_tuning_size(tuning) > 0;
    if (any) fputs("\n[tuning]\n# measured once; used again by resume and rerun\n", to);
    for (int i = 0; any && i < lam_tuning_size(tuning); i++) {
        const char *key = lam_tuning_key(tuning, i);
        char *line = lam_format("%s = %s", key, lam_tuning_get(tuning, key)), name[24];
        snprintf(name, sizeof name, "%d", i + 1);
        if (line && lam_recipe_can_hold(line)) lam_recipe_write(to, name, line);
        free(line);
    }
    if (fclose(to) != 0) {
        free(made);
        return lam_no_memory();
    }
    *text = made;
    return LAM_OK;
}

lam_status lam_tuning_record_line(void *tuning, const char *line) {
    const char *equals = strstr(line, " = ");
    if (!equals)
        return lam_fail(LAM_ERR_FORMAT, "'%.100s' is not 'key = choice' of a [tuning] section", line);
    char *key = strndup(line, (size_t)(equals - line));
    if (!key) return lam_no_memory();
    lam_status status = lam_tuning_set(tuning, key, equals + 3);
    free(key);
    return status;
}
