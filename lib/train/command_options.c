/* lamina options: the reference of options, from the tables themselves. */
#include <stdlib.h>

#include "train/commands.h"
#include "train/settings.h"

static lam_status print_task(const struct lam_task *task, FILE *out) {
    struct lam_settings settings;
    char *text;
    lam_status status = lam_settings_open(task, &settings);
    if (status == LAM_OK) status = lam_options_markdown(&settings.options, &text);
    if (status == LAM_OK) {
        fprintf(out, "\n## %s: %s\n%s", task->program, task->help, text);
        free(text);
    }
    lam_settings_close(&settings);
    return status;
}

static const char environment[] =
    "\n## Environment variables\n\n"
    "| variable | meaning |\n|---|---|\n"
    "| `LAMINA_CACHE` | folder of the tuning cache: what `--tuning measure` found, one file "
    "`tuning-HASH.txt` for each network and device; a file can be removed at any time, then it is measured "
    "again |\n"
    "| `XDG_CACHE_HOME` | without `LAMINA_CACHE` the cache is in its folder `lamina`; without both in "
    "`~/.cache/lamina` |\n"
    "| `LAMINA_ISA` | `v3` takes the AVX2 kernels where the processor has AVX-512, for tests and "
    "comparisons; `v4` refuses to run on less than AVX-512 |\n"
    "| `LAMINA_CONV` | `direct` takes no Winograd convolutions on the processor, for tests and comparisons |\n"
    "| `LAMINA_DATA` | for the tests alone: folder of real data sets |\n";

LAM_COMMAND(options) {
    (void)command, (void)argv, (void)err;
    if (argc > 1) return lam_fail(LAM_ERR_INVALID, "'%.60s': this command takes no arguments", argv[1]);
    fputs("# Options\n\nMade by `lamina options >docs/OPTIONS.md`. Every option can stand in a recipe "
          "(`--recipe FILE`, an INI file of\n`name = value` lines); later ones win. A run saves all of them "
          "in its "
          "`config.ini`.\n",
          out);
    for (int i = 0; tasks[i]; i++) LAM_TRY(print_task(tasks[i], out));
    fputs(environment, out);
    return LAM_OK;
}
