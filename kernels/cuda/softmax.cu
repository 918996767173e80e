/* SOFTMAX and its gradient over the last dimension, whatever stands in front of it. */
#include "cuda/operands.cuh"
#include "cuda/ops.h"
#include "cuda/row_team.cuh"

namespace {

/* Rows of one operand. */
struct row_order {
    element_order order;
    uint32_t sample; /* elements */
    int rows;        /* of a sample */
};

/* One row: element j is at base[at(j)]. */
struct row_place {
    int64_t base;
    uint32_t first;
};

__device__ row_place place_of_row(int64_t row, int columns, const row_order &order) {
    int64_t sample = row / order.rows;
    return {sample * order.sample, (uint32_t)(row - sample * order.rows) * (uint32_t)columns};
}
__device__ int64_t place_of_column(int j, const row_place &row, const row_order &order) {
    return row.base + place_of(row.first + (uint32_t)j, order.order);
}

template <typename Team, typename T>
__global__ void softmax(const T *x, T *y, int64_t rows, int columns, row_order x_order, row_order y_order) {
    const Team team;
    for (int64_t row = first_row(team); row < rows; row += row_step(team)) {
        row_place place = place_of_row(row, columns, x_order);
        float most = -INFINITY, sum = 0;
        for (int j = rank_in(team); j < columns; j += size_of(team))
            most = fmaxf(most, load(x + place_of_column(j, place, x_order)));
        most = team_max(team, most);
        for (int j = rank_in(team); j < columns; j += size_of(team))
            sum += expf(load(x + place_of_column(j, place, x_order)) - most);
        float share = 1.0f / team_sum(team, sum);
        for (int j = rank_in(team); j < columns; j += size_of(team))
            store(y + place_of_column(j, place, y_order),
                  expf(load(x + place_of_column(j, place, x_order)) - most) * share);
    }
}

template <typename Team, typename T>
__global__ void softmax_bwd(const T *dy, const T *y, T *dx, int64_t rows, int columns, row_order dy_order,
                            row_order y_order, row_order dx_order) {
    const Team team;
    for (int64_t row = first_row(team); row < rows; row += row_step(team)) {
        row_place place = place_of_row(row, columns, y_order);
        float dot = 0;
        for (int j = rank_in(team); j < columns; j += size_of(team))
            dot +=
                load(dy + place_of_column(j, place, dy_order)) * load(y + place_of_column(j, place, y_order));
        dot = team_sum(team, dot);
        for (int j = rank_in(team); j < columns; j += size_of(team)) {
            float slope = load(dy + place_of_column(j, place, dy_order)) - dot;
            store(dx + place_of_column(j, place, dx_order),
                  load(y + place_of_column(j, place, y_order)) * slope);
        }
    }
}

struct softmax_kernel {
    struct lam_kernel base;
    int columns, rows; /* rows: of a sample */
};

row_order rows_of(const softmax_kernel *kernel, const struct lam_operand *operand) {
    return {order_of(*operand), (uint32_t)elements_of(*operand), kernel->rows};
}

void forward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    auto s = reinterpret_cast<const softmax_kernel *>(kernel);
    const struct lam_operand *x = &kernel->op.in[0];
    int64_t rows = samples_of(*x, args->count) * s->rows;
    with_team(s->columns, [&](auto team) {
        with_float_type(x->desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "softmax", softmax<decltype(team), T>,
                       team_grid(team, args->stream, rows), TEAM_THREADS, TEAM_SHARED, (const T *)args->in[0],
                       (T *)args->out[0], rows, s->columns, rows_of(s, x), rows_of(s, &kernel->op.out[0]));
        });
    });
}

void backward_run(const struct lam_kernel *kernel, const struct lam_kernel_args *args) {
    auto s = reinterpret_cast<const softmax_kernel *>(kernel);
    const struct lam_operand *dy = &kernel->op.in[0];
    int64_t rows = samples_of(*dy, args->count) * s->rows;
    with_team(s->columns, [&](auto team) {
        with_float_type(dy->desc.dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            lam_launch(args->stream, "softmax_bwd", softmax_bwd<decltype(team), T>,
                       team_grid(team, args->stream, rows), TEAM_THREADS, TEAM_SHARED, (const T *)args->in[0],
                       (const T *)args->in[1], (T *)args->out[0], rows, s->columns, rows_of(s, dy),
                       rows_of(s, &kernel->op.in[1]), rows_of(s, &kernel->op.out[0]));
        });
    });
}

lam_status create(const struct lam_op *op, struct lam_kernel **kernel) {
    const struct lam_operand *x = &op->in[0];
    int rank = x->desc.shape.rank;
    if (rank < (x->batched ? 2 : 1) || !is_float(*x))
        return feature_op_unsupported(op, "takes rows of f32 or bf16");

    softmax_kernel *s = nullptr;
    LAM_TRY(feature_op_new(op, &s));
    s->base.run = op->kind == LAM_OP_SOFTMAX ? forward_run : backward_run;
    s->columns = (int)x->desc.shape.dim[rank - 1];
    s->rows = (int)(elements_of(*x) / s->columns);
    *kernel = &s->base;
    return LAM_OK;
}

} // namespace

LAM_CUDA_CREATE(lam_cuda_softmax_create, create)
LAM_CUDA_CREATE(lam_cuda_softmax_bwd_create, create)
