// Windows of an image whose channels lie side by side: a work-item makes one line of sixteen channels, or of what is left of them. MODE: 0 the
// largest, 1 the average of what is there, 2 the average with the padding counted. GROUP, where it is not 1: the work-items of a group, each of which
// makes one channel of one pixel. Triples are depth, height and width.

#define TAP(F, LOAD, MAX)                                                                                                          \
    {                                                                                                                              \
        const int deep = z * strides[0] + k * dilations[0] - before[0], row = y * strides[1] + i * dilations[1] - before[1];       \
        const int column = x * strides[2] + j * dilations[2] - before[2];                                                          \
        padded += deep < size[0] + after[0] && row < size[1] + after[1] && column < size[2] + after[2];                            \
        if (deep >= 0 && deep < size[0] && row >= 0 && row < size[1] && column >= 0 && column < size[2]) {                         \
            const F value = LOAD(from + deep * in[2] + row * in[1] + column * in[0]);                                              \
            seen++;                                                                                                                \
            sum = fma(value, (F)(1.0f), sum);                                                                                      \
            most = MAX(most, value);                                                                                               \
        }                                                                                                                          \
    }

#define POOL(F, LOAD, STORE, MAX, DIV)                                                                                             \
    for (int x = first; x < last; x++) {                                                                                              \
        F sum = (F)(0.0f), most = (F)(-INFINITY);                                                                                  \
        int seen = 0, padded = 0;                                                                                                  \
        for (int k = 0; k < window[0]; k++)                                                                                        \
            for (int i = 0; i < window[1]; i++)                                                                                    \
                for (int j = 0; j < window[2]; j++)                                                                                \
                    TAP(F, LOAD, MAX)                                                                                              \
        STORE(MODE == 0 ? most : DIV(sum, (F)((float)(MODE == 1 ? seen : padded))), to + x * out[0]);                              \
    }

#define LOAD16(p) vload16(0, p)
#define STORE16(x, p) vstore16(x, 0, p)
#define LOAD1(p) (*(p))
#define STORE1(x, p) (*(p) = (x))

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void pool(
    __global float *restrict output, __global const float *restrict input, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const int channels = m[0], out_d = m[1], out_w = m[2];
    __global const long *size = m + 3, *window = m + 6, *strides = m + 9, *before = m + 12, *after = m + 15, *dilations = m + 18;
    // Steps from one pixel, line, plane and image to the next, and where the first one lies.
    __global const long *in = m + 21, *out = m + 26;
    const int z = get_global_id(2) % out_d;
    const long image = get_global_id(2) / out_d;
#if GROUP == 1
    const int channel = get_global_id(0) * 16, y = get_global_id(1), first = 0, last = out_w;
#else
    const int channel = get_global_id(0), y = get_global_id(1) / out_w, first = get_global_id(1) % out_w, last = first + 1;
#endif
    __global const float *from = input + in[4] + image * in[3] + channel;
    __global float *to = output + out[4] + image * out[3] + z * out[2] + y * out[1] + channel;
#if GROUP == 1
    if (channel + 16 <= channels) {
        POOL(float16, LOAD16, STORE16, orion_max16, orion_div16)
    } else {
        for (int rest = channels - channel; rest > 0; rest--, from++, to++) {
            POOL(float, LOAD1, STORE1, orion_max, orion_div)
        }
    }
#else
    if (channel < channels) {
        POOL(float, LOAD1, STORE1, orion_max, orion_div)
    }
#endif
}
