/* Where element i of an op stands in each of its operands: at i where all lie in one order, else at the place that its layout
 * says. For kernels that take elements one by one, whatever they are.
 */
#ifndef LAM_CUDA_ELEMENTWISE_CUH
#define LAM_CUDA_ELEMENTWISE_CUH

#include "cuda/feature_map.cuh"

struct flat_places {};

constexpr int MOST_MIXED = 5;

struct mixed_places {
    struct feature_order order;
    struct feature_map map[MOST_MIXED]; /* of each operand, numbered as the kernel likes */
};

__device__ inline int64_t place_of(const struct flat_places &, int, int64_t i) {
    return i;
}
__device__ inline int64_t place_of(const struct mixed_places &places, int operand, int64_t i) {
    const struct feature_place at = feature_place_of(places.order, i);
    return feature_offset(places.map[operand], at.n, at.p, at.c);
}

/* True if all batched operands of rank 4 lie in one order. */
static inline bool one_order(const struct lam_op &op) {
    bool plain = false, last = false;
    for (int i = 0; i < op.inputs + op.outputs; i++) {
        const struct lam_operand &operand = i < op.inputs ? op.in[i] : op.out[i - op.inputs];
        if (!operand.present || !operand.batched || operand.desc.shape.rank != 4) continue;
        if (channels_last(operand.desc))
            last = true;
        else
            plain = true;
    }
    return !(plain && last);
}

/* `operands`: of rank 4, or absent; elements are counted in the order of the first. */
static inline struct mixed_places
mixed_places_of(std::initializer_list<const struct lam_operand *> operands) {
    struct mixed_places places = {};
    places.order = feature_order_of((*operands.begin())->desc);
    int i = 0;
    for (const struct lam_operand *operand : operands) {
        if (operand && operand->present) places.map[i] = feature_map_of(operand->desc);
        i++;
    }
    return places;
}

#endif
