/* What the last evaluation found out beyond its scores, in the run's folder. */
#include <stdlib.h>

#include "train/run_internal.h"

static lam_status write_report(const struct run *run, FILE *table) {
    json_t *json = NULL;
    LAM_TRY(run->task->report(run->state, table, &json, run->folder.path));
    return lam_folder_write_json(&run->folder, "report.json", json);
}

lam_status lam_run_report(const struct run *run) {
    char *text = NULL;
    size_t size = 0;
    if (!run->head || !run->task->report) return LAM_OK;
    FILE *table = open_memstream(&text, &size);
    if (!table) return lam_no_memory();
    lam_status status = write_report(run, table);
    if (fclose(table) != 0 && status == LAM_OK) status = lam_no_memory();
    if (status == LAM_OK) status = lam_folder_write_text(&run->folder, "report.txt", text);
    free(text);
    return status;
}
