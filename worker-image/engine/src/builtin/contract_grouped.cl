// The contraction of contract.cl for devices whose work-items come in groups: 16 x 16 of them make 64 rows by 64 columns, sixteen outputs each, and share
// what they read in local memory. The same chains of fma, so the same bits.
//
// Defined before this text: what contract.cl says, without ROWS, VECS, FLOWING and SINGLE: tiles always go on in the next line.

#define SIDE 64
#define DEPTH 16
#define PLACE(line_step, row_step) (lines[y] * (line_step) + rows[y] * (row_step))

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void contract(
    __global float *restrict output, __global const float *restrict input, __global const float *restrict weights,
    PARAMETERS __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const int channels = m[0], tap_count = m[1], width = m[2], count = m[3], columns = m[4], panels = m[5];
    const long in_step = m[6], in_line = m[7], out_step = m[8], out_line = m[9];
    __global const long *steps = m + 10, *taps = steps + 2 * OPERANDS;
    const int panel = get_group_id(2) % panels;
    __global const long *batch = taps + tap_count + (3 + OPERANDS) * (get_group_id(2) / panels);
    const int first = get_group_id(0) * SIDE, column = panel * SIDE, depth = channels * tap_count;
    const int across = get_local_id(0), down = get_local_id(1);
    __global const float *from = input + batch[0] + (DEPTHWISE ? column : 0);
    __global const float *w = weights + batch[1] + (long)panel * depth * SIDE;
    // This work-item's rows: the ones that it computes, and the ones that it fetches. None lies beyond the last one.
    const int end = width * count;
    long lines[4], rows[4], places[4];
    float acc[4][4];
    for (int y = 0; y < 4; y++) {
        const int row = min(first + down + 16 * y, end - 1);
        lines[y] = row / width;
        rows[y] = row % width;
        places[y] = PLACE(in_line, in_step);
        for (int x = 0; x < 4; x++)
            acc[y][x] = 0.0f;
    }
#if DEPTHWISE
    for (int t = 0; t < tap_count; t++)
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++) {
                const int i = down + 16 * y, j = across + 16 * x;
                if (first + i < end && column + j < columns)
                    acc[y][x] = fma(from[places[y] + j + taps[t]], w[t * SIDE + j], acc[y][x]);
            }
#else
    __local float a[DEPTH][SIDE + 1], b[DEPTH][SIDE];
    for (int begin = 0; begin < depth; begin += DEPTH) {
        // Never one more than there are: a product of zeros would make +0 of -0.
        const int terms = min(DEPTH, depth - begin);
        const int k = across, c = (begin + k) / tap_count, t = (begin + k) % tap_count;
        for (int y = 0; y < 4; y++) {
            a[k][down + 16 * y] = k < terms ? from[places[y] + c + taps[t]] : 0.0f;
            const int at = y * 256 + down * 16 + across, below = at / SIDE, beside = at % SIDE;
            b[below][beside] = below < terms ? w[(long)(begin + below) * SIDE + beside] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < terms; k++)
            for (int y = 0; y < 4; y++)
                for (int x = 0; x < 4; x++)
                    acc[y][x] = fma(a[k][down + 16 * y], b[k][across + 16 * x], acc[y][x]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#endif
    __global float *to = output + batch[2] + column;
    SETUP
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++) {
            const int i = down + 16 * y, j = across + 16 * x, lane = 0;
            if (first + i < end && column + j < columns) {
                __global float *at = to + PLACE(out_line, out_step) + j;
                const float x0 = acc[y][x];
                NARROW
            }
        }
}
