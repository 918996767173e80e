/* The arithmetic of the generalised IoU loss of decoded boxes (Rezatofighi et al. 2019), and of its gradient by the deltas: what
 * the backends' kernels do for a row. In C and in CUDA's C++; device code defines LAM_GIOU_CODE as its kind of function.
 *
 * Seen along one axis, a box is a centre and a size, and so are all lengths here: they are taken from the anchor's centre, so
 * that nothing is lost far from the image's corner. Areas are products over the two axes. */
#ifndef LAM_GIOU_H
#define LAM_GIOU_H

#include <math.h>
#include <stdbool.h>

#ifndef LAM_GIOU_CODE
#define LAM_GIOU_CODE static inline
#endif

#define LAM_GIOU_LARGEST_STRETCH 4.135166556742356 /* log(1000 / 16) */
#define LAM_GIOU_EPS             1e-7

/* One axis: the box's size, how it overlaps with the target, and how the lengths change with centre and size. */
struct lam_giou_axis {
    double anchor, size, target; /* sizes */
    double inner, outer;         /* of intersection and enclosing box */
    double inner_by_centre, inner_by_size, outer_by_centre, outer_by_size;
    bool stretched_most; /* the size does not change with its delta any more */
};

/* NaN passes through every comparison here. */
LAM_GIOU_CODE struct lam_giou_axis lam_giou_axis_of(const float *anchor, const float *target, double shift,
                                                    double stretch) {
    const double middle = 0.5 * ((double)anchor[0] + (double)anchor[2]);
    struct lam_giou_axis a;
    a.anchor = (double)anchor[2] - (double)anchor[0];
    a.target = (double)target[2] - (double)target[0];
    a.stretched_most = stretch > LAM_GIOU_LARGEST_STRETCH;
    a.size = a.anchor * exp(a.stretched_most ? LAM_GIOU_LARGEST_STRETCH : stretch);
    const double centre = shift * a.anchor, begin = centre - a.size / 2, end = centre + a.size / 2;
    const double from = (double)target[0] - middle, to = (double)target[2] - middle;
    a.inner = (to < end ? to : end) - (from > begin ? from : begin);
    a.outer = (to > end ? to : end) - (from < begin ? from : begin);
    a.inner_by_centre = a.inner_by_size = 0;
    if (a.inner < 0) {
        a.inner = 0;
    } else {
        double by_begin = begin > from ? -1 : 0, by_end = end < to ? 1 : 0;
        a.inner_by_centre = by_begin + by_end;
        a.inner_by_size = (by_end - by_begin) / 2;
    }
    double by_begin = begin < from ? -1 : 0, by_end = end > to ? 1 : 0;
    a.outer_by_centre = by_begin + by_end;
    a.outer_by_size = (by_end - by_begin) / 2;
    return a;
}

struct lam_giou_areas {
    double intersection, whole /* union */, enclosing;
};

LAM_GIOU_CODE struct lam_giou_areas lam_giou_areas_of(const struct lam_giou_axis *x,
                                                      const struct lam_giou_axis *y) {
    struct lam_giou_areas a = {x->inner * y->inner, 0, x->outer * y->outer};
    a.whole = x->size * y->size + x->target * y->target - a.intersection;
    return a;
}

LAM_GIOU_CODE double lam_iou_of(const struct lam_giou_areas *a) {
    return a->intersection / (a->whole + LAM_GIOU_EPS);
}

LAM_GIOU_CODE double lam_giou_loss_of(const struct lam_giou_areas *a) {
    return 1 - a->intersection / (a->whole + LAM_GIOU_EPS) +
           (a->enclosing - a->whole) / (a->enclosing + LAM_GIOU_EPS);
}

/* The loss's slopes by this axis' two deltas. The union changes with the box's area and against the intersection. */
LAM_GIOU_CODE void lam_giou_slopes_of(const struct lam_giou_areas *a, const struct lam_giou_axis *here,
                                      const struct lam_giou_axis *across, double *by_shift,
                                      double *by_stretch) {
    const double u = a->whole + LAM_GIOU_EPS, e = a->enclosing + LAM_GIOU_EPS;
    const double by_union = a->intersection / (u * u) - 1 / e;
    const double by_inner = (-1 / u - by_union) * across->inner, by_outer = u / (e * e) * across->outer;
    *by_shift = here->anchor * (by_inner * here->inner_by_centre + by_outer * here->outer_by_centre);
    *by_stretch = here->stretched_most
                      ? 0
                      : here->size * (by_union * across->size + by_inner * here->inner_by_size +
                                      by_outer * here->outer_by_size);
}

#endif
