// Elements that change their place. An index beyond a dimension means the nearest one, after negative ones have counted from the end: nothing
// outside of a buffer is ever touched. T, and GROUP, the work-items of a group, are defined before this text.

#define ITEM __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void

long orion_place(long index, long size)
{
    return clamp(index < 0 ? index + size : index, 0l, size - 1);
}

ITEM gather(
    __global T *restrict output, __global const T *restrict input, __global const long *restrict indices,
    __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long size = m[0], run = m[1], count = m[2];
    const long at = get_global_id(1), outer = get_global_id(2);
    __global const T *from = input + (outer * size + orion_place(indices[at], size)) * run;
    __global T *to = output + (outer * count + at) * run;
    for (long i = get_global_id(0); i < run; i += get_global_size(0))
        to[i] = from[i];
}

ITEM scatter(
    __global T *restrict output, __global const long *restrict indices, __global const T *restrict updates,
    __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long places = m[0], depth = m[1], run = m[2];
    for (long p = 0; p < places; p++) {
        long begin = 0;
        for (long d = 0; d < depth; d++)
            begin += orion_place(indices[p * depth + d], m[3 + 2 * d]) * m[4 + 2 * d];
        for (long i = get_global_id(0); i < run; i += get_global_size(0))
            output[begin + i] = updates[p * run + i];
    }
}

// A work-item does EACH elements, those with numbers that follow each other.
#define ELEMENTS(I, COUNT, EACH)                                                                                                   \
    const long last = min((COUNT), (long)(get_global_id(0) + 1) * (EACH));                                                         \
    for (long I = get_global_id(0) * (EACH); I < last; I++)

ITEM pad(
    __global T *restrict output, __global const T *restrict input, __global const T *restrict value,
    __global const long *metas, const long meta)
{
    __global const long *m = metas + meta, *dims = m + 4;
    const long mode = m[2], rank = m[3];
    ELEMENTS(at, m[0], m[1])
    {
        long rest = at, from = 0;
        bool inside = true;
        for (long d = rank - 1; d >= 0; d--) {
            __global const long *dim = dims + 4 * d;
            const long size = dim[1];
            long index = rest % dim[0] - dim[3];
            rest /= dim[0];
            if (index < 0 || index >= size) {
                if (mode == 0)
                    inside = false;
                else if (mode == 1)
                    index = index < 0 ? -index : 2 * (size - 1) - index;
                else if (mode == 2)
                    index = index < 0 ? 0 : size - 1;
                else
                    index = index < 0 ? index + size : index - size;
            }
            from += index * dim[2];
        }
        output[at] = inside ? input[from] : value[0];
    }
}

ITEM trilu(__global T *restrict output, __global const T *restrict input, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long rows = m[2], columns = m[3];
    ELEMENTS(at, m[0], m[1])
    {
        const long right = at % columns - at / columns % rows;
        const bool kept = m[4] ? right >= m[5] : right <= m[5];
        output[at] = kept ? input[at] : (T)0;
    }
}
