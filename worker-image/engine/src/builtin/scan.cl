// What runs along an axis, a work-item a line; and rows of integers, whose order changes nothing. T, U, ADD(x, sum), LEAST, and GROUP, the
// work-items of a group, are defined before this text.

#define ITEM __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
#define LINE                                                                                                                       \
    __global const long *m = metas + meta;                                                                                         \
    const long n = m[0], step = m[1];                                                                                              \
    if (get_global_id(0) >= m[2])                                                                                                  \
        return;                                                                                                                    \
    const long begin = get_global_id(0) / step * n * step + get_global_id(0) % step

ITEM arg_max(__global long *restrict output, __global const T *restrict input, __global const long *metas, const long meta)
{
    LINE;
    long best = 0;
    for (long at = 1; at < n; at++) {
        const T have = input[begin + best * step], next = input[begin + at * step];
        if (have == have && (next > have || (m[3] && next == have) || next != next))
            best = at;
    }
    output[get_global_id(0)] = best;
}

ITEM cum_sum(__global T *restrict output, __global const T *restrict input, __global const long *metas, const long meta)
{
    LINE;
    T sum = 0;
    for (long i = 0; i < n; i++) {
        const long at = begin + (m[4] ? n - 1 - i : i) * step;
        const T x = input[at];
        const T next = ADD(x, sum);
        output[at] = m[3] ? sum : next;
        sum = next;
    }
}

ITEM integer_sum(__global T *restrict sums, __global const T *restrict input, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long last = min((long)(get_global_id(0) + 1) * m[2], m[1]);
    for (long r = get_global_id(0) * m[2]; r < last; r++) {
        T sum = 0;
        for (long i = 0; i < m[0]; i++) {
            const T x = input[r * m[0] + i];
            sum = ADD(x, sum);
        }
        sums[r] = sum;
    }
}

ITEM integer_max(__global T *restrict largest, __global const T *restrict input, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long last = min((long)(get_global_id(0) + 1) * m[2], m[1]);
    for (long r = get_global_id(0) * m[2]; r < last; r++) {
        T most = LEAST;
        for (long i = 0; i < m[0]; i++)
            most = input[r * m[0] + i] > most ? input[r * m[0] + i] : most;
        largest[r] = most;
    }
}
