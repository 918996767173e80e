#include "tasks/detect/boxes.h"

#include <math.h>

void detect_encode(const float anchor[4], const float box[4], float delta[4]) {
    for (int i = 0; i < 2; i++) {
        float side = anchor[i + 2] - anchor[i], centre = (anchor[i] + anchor[i + 2]) / 2;
        delta[i] = ((box[i] + box[i + 2]) / 2 - centre) / side;
        delta[i + 2] = logf((box[i + 2] - box[i]) / side);
    }
}

void detect_decode_box(const float anchor[4], const float delta[4], float box[4]) {
    for (int i = 0; i < 2; i++) {
        float side = anchor[i + 2] - anchor[i], centre = (anchor[i] + anchor[i + 2]) / 2 + delta[i] * side;
        float ratio = delta[i + 2] > DETECT_MAX_LOG_RATIO ? DETECT_MAX_LOG_RATIO : delta[i + 2];
        float half = side * expf(ratio) / 2;
        box[i] = centre - half;
        box[i + 2] = centre + half;
    }
}

static float clamp(float x, float limit) {
    return x < 0 ? 0 : x > limit ? limit : x;
}

bool detect_clip(float box[4], float width, float height) {
    for (int i = 0; i < 4; i += 2) {
        box[i] = clamp(box[i], width);
        box[i + 1] = clamp(box[i + 1], height);
    }
    return box[2] > box[0] && box[3] > box[1];
}

lam_status detect_box_check(const struct lam_box *box, int64_t index) {
    const float corners[4] = {box->x0, box->y0, box->x1, box->y1}, farthest = 1e6f;
    for (int i = 0; i < 4; i++)
        if (!(fabsf(corners[i]) <= farthest)) /* NaN too */
            return lam_fail(LAM_ERR_FORMAT, "box %lld has a corner at %g, out of any image", (long long)index,
                            (double)corners[i]);
    if (box->x1 <= box->x0 || box->y1 <= box->y0)
        return lam_fail(LAM_ERR_FORMAT, "box %lld is empty: from (%g, %g) to (%g, %g)", (long long)index,
                        (double)box->x0, (double)box->y0, (double)box->x1, (double)box->y1);
    return LAM_OK;
}
