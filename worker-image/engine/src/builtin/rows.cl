// Rows: element i belongs to lane i % 16, each lane is a chain, lanes meet in the tree 8-4-2-1. A work-item does whole rows.

float orion_tree(float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.lo + c.hi;
}

float orion_tree_max(float16 v)
{
    const float16 a = orion_max16(v, v.s89abcdef01234567);
    const float16 b = orion_max16(a, a.s456789abcdef0123);
    const float16 c = orion_max16(b, b.s23456789abcdef01);
    return orion_max(c.s0, c.s1);
}

// The last lanes of a row that 16 does not divide: elements beyond it leave their lane as it is.
#define EACH_LANE(BODY)                                                                                                            \
    if (at < n) {                                                                                                                  \
        float lanes[16];                                                                                                           \
        vstore16(acc, 0, lanes);                                                                                                   \
        for (int lane = 0; lane < n - at; lane++) {                                                                                \
            const float x = row[at + lane];                                                                                        \
            lanes[lane] = BODY;                                                                                                    \
        }                                                                                                                          \
        acc = vload16(0, lanes);                                                                                                   \
    }

float orion_row_sum(__global const float *row, const long n)
{
    float16 acc = (float16)(0.0f);
    long at = 0;
    for (; at + 16 <= n; at += 16)
        acc = fma(vload16(0, row + at), (float16)(1.0f), acc);
    EACH_LANE(fma(x, 1.0f, lanes[lane]))
    return orion_tree(acc);
}

float orion_row_squares(__global const float *row, const long n)
{
    float16 acc = (float16)(0.0f);
    long at = 0;
    for (; at + 16 <= n; at += 16) {
        const float16 x = vload16(0, row + at);
        acc = fma(x, x, acc);
    }
    EACH_LANE(fma(x, x, lanes[lane]))
    return orion_tree(acc);
}

float orion_row_max(__global const float *row, const long n)
{
    float16 acc = (float16)(-INFINITY);
    long at = 0;
    for (; at + 16 <= n; at += 16)
        acc = orion_max16(acc, vload16(0, row + at));
    EACH_LANE(orion_max(lanes[lane], x))
    return orion_tree_max(acc);
}

// out[i] = BODY of x for the whole row, sixteen at a time.
#define FOR_ROW(BODY16, BODY)                                                                                                      \
    {                                                                                                                              \
        long at = 0;                                                                                                               \
        for (; at + 16 <= n; at += 16) {                                                                                           \
            const float16 x = vload16(0, row + at);                                                                                \
            vstore16(BODY16, 0, out + at);                                                                                         \
        }                                                                                                                          \
        for (; at < n; at++) {                                                                                                     \
            const float x = row[at];                                                                                               \
            out[at] = BODY;                                                                                                        \
        }                                                                                                                          \
    }

#define ROWS_LOOP                                                                                                                  \
    __global const long *m = metas + meta;                                                                                         \
    const long n = m[0], last = min((long)(get_global_id(0) + 1) * m[2], m[1]);                                                    \
    for (long r = get_global_id(0) * m[2]; r < last; r++)

#define ITEM __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void

ITEM row_sum(__global float *restrict sums, __global const float *restrict input, __global const long *metas, const long meta)
{
    ROWS_LOOP sums[r] = orion_row_sum(input + r * n, n);
}

ITEM row_mean(__global float *restrict means, __global const float *restrict input, __global const long *metas, const long meta)
{
    ROWS_LOOP means[r] = orion_div(orion_row_sum(input + r * n, n), convert_float_rte(n));
}

ITEM row_max(__global float *restrict largest, __global const float *restrict input, __global const long *metas, const long meta)
{
    ROWS_LOOP largest[r] = orion_row_max(input + r * n, n);
}

// Sixteen rows at a time, one pass after the other: what one row waits for is then done for the next.
ITEM softmax(__global float *output, __global const float *input, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long n = m[0], last = min((long)(get_global_id(0) + 1) * m[2], m[1]);
    for (long first = get_global_id(0) * m[2]; first < last; first += 16) {
        const int rows = min(last - first, 16l);
        float most[16], sums[16], factors[16];
        for (int r = 0; r < rows; r++)
            most[r] = orion_row_max(input + (first + r) * n, n);
        for (int r = 0; r < rows; r++) {
            __global const float *row = input + (first + r) * n;
            __global float *out = output + (first + r) * n;
            FOR_ROW(orion_exp16(x - (float16)(most[r])), orion_exp(x - most[r]))
        }
        vstore16((float16)(1.0f), 0, sums);
        for (int r = 0; r < rows; r++)
            sums[r] = orion_row_sum(output + (first + r) * n, n);
        vstore16(orion_div16((float16)(1.0f), vload16(0, sums)), 0, factors);
        for (int r = 0; r < rows; r++) {
            __global float *out = output + (first + r) * n;
            __global const float *row = out;
            FOR_ROW(x * (float16)(factors[r]), x * factors[r])
        }
    }
}

// `scratch` holds what is shifted, for the sum needs its exponentials.
ITEM log_softmax(
    __global float *output, __global const float *input, __global float *scratch, __global const long *metas, const long meta)
{
    ROWS_LOOP
    {
        __global const float *row = input + r * n;
        __global float *out = scratch + r * n;
        const float most = orion_row_max(row, n);
        FOR_ROW(orion_exp16(x - (float16)(most)), orion_exp(x - most))
        const float all = orion_log(orion_row_sum(out, n));
        out = output + r * n;
        FOR_ROW((x - (float16)(most)) - (float16)(all), (x - most) - all)
    }
}

ITEM layer_norm(
    __global float *output, __global const float *input, __global const float *restrict scale, __global const float *restrict bias,
    __global const long *metas, const long meta)
{
    ROWS_LOOP
    {
        __global const float *row = input + r * n;
        __global float *out = output + r * n;
        const float mean = orion_div(orion_row_sum(row, n), convert_float_rte(n));
        FOR_ROW(x - (float16)(mean), x - mean)
        const float variance = orion_div(orion_row_squares(out, n), convert_float_rte(n));
        const float factor = orion_rsqrt(variance + as_float((int)m[3]));
        row = out;
        FOR_ROW(fma(x * (float16)(factor), vload16(0, scale + at), vload16(0, bias + at)), fma(x * factor, scale[at], bias[at]))
    }
}
