/* The scores as a table for people and as JSON. */
#include "tasks/detect/average_precision.h"

static void put_share(double value, FILE *to) {
    if (value < 0)
        fprintf(to, " %7s", "-");
    else
        fprintf(to, " %7.4f", value);
}

static void put_row(const char *name, int64_t images, int64_t boxes, double ap50, double ap, FILE *to) {
    fprintf(to, "%-24.24s %7lld %7lld", name, (long long)images, (long long)boxes);
    put_share(ap50, to);
    put_share(ap, to);
    fputc('\n', to);
}

void detect_ap_print(const struct detect_scores *s, char *const *names, FILE *to) {
    fprintf(to, "%-24s %7s %7s %7s %7s\n", "class", "images", "boxes", "AP50", "AP");
    for (int i = 0; i < s->classes; i++) {
        const struct detect_class_score *c = &s->of_class[i];
        put_row(names[i], c->images, c->boxes, c->ap50, c->ap, to);
    }
    put_row("all", s->images, s->boxes, s->ap50, s->ap, to);
}

/* "COCO  AP 0.5465  AP50 0.8938 ..." */
static void put_line(const char *head, const char *const *names, const double *values, int count, FILE *to) {
    fprintf(to, "%-6s", head);
    for (int i = 0; i < count; i++) {
        fprintf(to, "%s %s", i ? " " : "", names[i]);
        put_share(values[i], to);
    }
    fputc('\n', to);
}

void detect_ap_print_summary(const struct detect_scores *s, FILE *to) {
    static const char *const precision[] = {"AP", "AP50", "AP75", "small", "medium", "large"};
    static const char *const recall[] = {"AR1", "AR10", "AR100", "small", "medium", "large"};
    static const char *const voc[] = {"all points", "11 points"};
    const double ap[] = {s->ap, s->ap50, s->ap75, s->ap_small, s->ap_medium, s->ap_large};
    const double ar[] = {s->ar1, s->ar10, s->ar100, s->ar_small, s->ar_medium, s->ar_large};
    put_line("COCO", precision, ap, 6, to);
    put_line("", recall, ar, 6, to);
    put_line("VOC", voc, (double[]){s->voc, s->voc11}, 2, to);
}

static json_t *share(double value) {
    return value < 0 ? json_null() : json_real(value);
}

static json_t *class_json(const struct detect_class_score *c, const char *name) {
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "class", name, "images",
                     (json_int_t)c->images, "boxes", (json_int_t)c->boxes, "detections",
                     (json_int_t)c->detections, "ap", share(c->ap), "ap50", share(c->ap50), "ap75",
                     share(c->ap75), "voc", share(c->voc), "voc11", share(c->voc11));
}

json_t *detect_ap_json(const struct detect_scores *s, char *const *names) {
    json_t *classes = json_array();
    for (int i = 0; i < s->classes; i++)
        if (json_array_append_new(classes, class_json(&s->of_class[i], names[i])) != 0) {
            json_decref(classes);
            return NULL;
        }
    return json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "images", (json_int_t)s->images, "boxes", (json_int_t)s->boxes, "detections",
        (json_int_t)s->detections, "ap", share(s->ap), "ap50", share(s->ap50), "ap75", share(s->ap75),
        "ap_small", share(s->ap_small), "ap_medium", share(s->ap_medium), "ap_large", share(s->ap_large),
        "ar1", share(s->ar1), "ar10", share(s->ar10), "ar100", share(s->ar100), "ar_small",
        share(s->ar_small), "ar_medium", share(s->ar_medium), "ar_large", share(s->ar_large), "voc",
        share(s->voc), "voc11", share(s->voc11), "classes", classes);
}
