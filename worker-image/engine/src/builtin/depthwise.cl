// Depthwise convolutions: every channel has a window of its own. A work-item makes ROWS pixels by VECS x 16 channels, a lane a channel, each of which is
// one chain of fma from +0 over the taps. The last tile of a line overlaps the one before: pixels computed twice are equal.
//
// Defined before this text: what contract.cl says, without TILES, PANELS, DEPTH and SINGLE, and FLOWING: tiles go on from the end of a line to the beginning
// of the next.

#define PANEL (VECS * 16)
#if FLOWING
#define PLACE(line_step, row_step) (lines[i] * (line_step) + rows[i] * (row_step))
#define FROM(i) places[i]
#else
#define PLACE(line_step, row_step) (line * (line_step) + (first + i) * (row_step))
#define FROM(i) ((i) * in_step)
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise(
    __global float *restrict output, __global const float *restrict input, __global const float *restrict weights,
    PARAMETERS __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const int tap_count = m[1], width = m[2], count = m[3], columns = m[4], panels = m[5];
    const long in_step = m[6], in_line = m[7], out_step = m[8], out_line = m[9];
    __global const long *steps = m + 10, *taps = steps + 2 * OPERANDS;
    const int panel = get_global_id(2) % panels;
    __global const long *batch = taps + tap_count + (3 + OPERANDS) * (get_global_id(2) / panels);
    __global const float *from = input + batch[0] + panel * PANEL;
#if FLOWING
    const int first = min((int)get_global_id(0) * ROWS, width * count - ROWS);
    long lines[ROWS], rows[ROWS], places[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        lines[i] = (first + i) / width;
        rows[i] = (first + i) % width;
        places[i] = PLACE(in_line, in_step);
    }
#else
    const int first = min((int)get_global_id(0) * ROWS, width - ROWS);
    const long line = get_global_id(1);
    from += line * in_line + first * in_step;
#endif
    __global const float *w = weights + batch[1] + (long)panel * tap_count * PANEL;
    float16 acc[ROWS][VECS];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int v = 0; v < VECS; v++)
            acc[i][v] = (float16)(0.0f);
    for (int t = 0; t < tap_count; t++) {
        __global const float *element = from + taps[t];
        float16 b[VECS];
#pragma unroll
        for (int v = 0; v < VECS; v++)
            b[v] = vload16(v, w);
        w += PANEL;
        // Lanes beyond the last channel are read, for buffers are longer than what they hold, and never stored.
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int v = 0; v < VECS; v++)
                acc[i][v] = fma(vload16(v, element + FROM(i)), b[v], acc[i][v]);
    }
    const int column = panel * PANEL;
    __global float *to = output + batch[2] + column;
    SETUP
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int v = 0; v < VECS; v++) {
            const int j = v * 16, left = columns - column - j;
            __global float *at = to + PLACE(out_line, out_step) + j;
            if (left >= 16) {
                const float16 x0 = acc[i][v];
                WIDE
            } else if (left > 0) {
                float lanes[16];
                vstore16(acc[i][v], 0, lanes);
                for (int lane = 0; lane < left; lane++) {
                    const float x0 = lanes[lane];
                    NARROW
                }
            }
        }
}
