// The kernels of rows.cl for devices whose work-items come in groups: each of a row's sixteen lanes is a work-item, four rows are a group. A lane
// reads and writes its own elements alone, so only the trees need local memory.

#define ITEM __kernel __attribute__((reqd_work_group_size(16, 4, 1))) void

#define GROUP_ROW                                                                                                                  \
    __local float all_lanes[64];                                                                                                   \
    __local float *lanes = all_lanes + 16 * get_local_id(1);                                                                       \
    __global const long *m = metas + meta;                                                                                         \
    const long r = get_global_id(1), n = r < m[1] ? m[0] : 0;                                                                      \
    const bool writes = r < m[1] && get_local_id(0) == 0;

#define OWN(AT) for (long AT = get_local_id(0); AT < n; AT += 16)

float orion_tree(const float x, __local float *lanes)
{
    const int lane = get_local_id(0);
    lanes[lane] = x;
    for (int apart = 8; apart > 0; apart /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < apart)
            lanes[lane] = lanes[lane] + lanes[lane + apart];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const float all = lanes[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return all;
}

float orion_tree_max(const float x, __local float *lanes)
{
    const int lane = get_local_id(0);
    lanes[lane] = x;
    for (int apart = 8; apart > 0; apart /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < apart)
            lanes[lane] = orion_max(lanes[lane], lanes[lane + apart]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const float all = lanes[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return all;
}

float orion_row_sum(__global const float *row, const long n, __local float *lanes)
{
    float acc = 0.0f;
    OWN(at) acc = fma(row[at], 1.0f, acc);
    return orion_tree(acc, lanes);
}

float orion_row_squares(__global const float *row, const long n, __local float *lanes)
{
    float acc = 0.0f;
    OWN(at) acc = fma(row[at], row[at], acc);
    return orion_tree(acc, lanes);
}

float orion_row_max(__global const float *row, const long n, __local float *lanes)
{
    float acc = -INFINITY;
    OWN(at) acc = orion_max(acc, row[at]);
    return orion_tree_max(acc, lanes);
}

ITEM row_sum(__global float *restrict sums, __global const float *restrict input, __global const long *metas, const long meta)
{
    GROUP_ROW
    const float sum = orion_row_sum(input + r * n, n, lanes);
    if (writes)
        sums[r] = sum;
}

ITEM row_mean(__global float *restrict means, __global const float *restrict input, __global const long *metas, const long meta)
{
    GROUP_ROW
    const float mean = orion_div(orion_row_sum(input + r * n, n, lanes), convert_float_rte(n));
    if (writes)
        means[r] = mean;
}

ITEM row_max(__global float *restrict largest, __global const float *restrict input, __global const long *metas, const long meta)
{
    GROUP_ROW
    const float most = orion_row_max(input + r * n, n, lanes);
    if (writes)
        largest[r] = most;
}

ITEM softmax(__global float *output, __global const float *input, __global const long *metas, const long meta)
{
    GROUP_ROW
    __global const float *row = input + r * n;
    __global float *out = output + r * n;
    const float most = orion_row_max(row, n, lanes);
    OWN(at) out[at] = orion_exp(row[at] - most);
    const float factor = orion_div(1.0f, orion_row_sum(out, n, lanes));
    OWN(at) out[at] = out[at] * factor;
}

ITEM log_softmax(
    __global float *output, __global const float *input, __global float *scratch, __global const long *metas, const long meta)
{
    GROUP_ROW
    __global const float *row = input + r * n;
    __global float *shifted = scratch + r * n, *out = output + r * n;
    const float most = orion_row_max(row, n, lanes);
    OWN(at) shifted[at] = orion_exp(row[at] - most);
    const float all = orion_log(orion_row_sum(shifted, n, lanes));
    OWN(at)
    {
        const float apart = row[at] - most;
        out[at] = apart - all;
    }
}

ITEM layer_norm(
    __global float *output, __global const float *input, __global const float *restrict scale, __global const float *restrict bias,
    __global const long *metas, const long meta)
{
    GROUP_ROW
    __global const float *row = input + r * n;
    __global float *out = output + r * n;
    const float mean = orion_div(orion_row_sum(row, n, lanes), convert_float_rte(n));
    OWN(at) out[at] = row[at] - mean;
    const float variance = orion_div(orion_row_squares(out, n, lanes), convert_float_rte(n));
    const float factor = orion_rsqrt(variance + as_float((int)m[3]));
    OWN(at)
    {
        const float scaled = out[at] * factor;
        out[at] = fma(scaled, scale[at], bias[at]);
    }
}
