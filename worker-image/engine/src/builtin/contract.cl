// Products of matrices and convolutions: a work-item makes up to TILES tiles, each of ROWS rows (or pixels), by up to PANELS panels of VECS x 16
// columns (or channels).
//
// Every output is one chain of fma from +0, over channels and within them taps, ascending; tiles and blocks decide only who computes it, and where
// its sum lies in between. The last tile overlaps the one before: rows computed twice are equal.
//
// The sum is walked in blocks of at most DEPTH terms. For each of them the rows' elements are laid side by side in `staged`, at distances that the
// compiler knows and that do not meet in the same sets of a cache; a block of a panel then stays in the nearest cache while all tiles use it.
//
// Defined before this text: ROWS, VECS, TILES, PANELS, DEPTH, SINGLE (there is one tap), OPERANDS, and what is done to each result before it is
// stored: PARAMETERS, the operands of that; SETUP, where they begin; WIDE and NARROW, a function of sixteen results x0, or of one, in column j
// of the panel, whose row lies at PLACE(step of a line, step of a row).

#define PANEL (VECS * 16)
#define PLACE(line_step, row_step) (line * (line_step) + row * (row_step))
// Whole vectors are copied: what the last of a row brings too much is overwritten by the next, or never read.
#define STRIDE (DEPTH + 16)

// One term of every chain: weights of the next tap, and the rows' elements from AT on.
#define TERM(AT)                                                                                                                   \
    {                                                                                                                              \
        float16 b[VECS];                                                                                                           \
        _Pragma("unroll") for (int v = 0; v < VECS; v++) b[v] = vload16(v, w);                                                     \
        w += PANEL;                                                                                                                \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                                           \
            _Pragma("unroll") for (int v = 0; v < VECS; v++)                                                                       \
                acc[i][v] = fma((float16)((AT)[i * STRIDE]), b[v], acc[i][v]);                                                     \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void contract(
    __global float *restrict output, __global const float *restrict input, __global const float *restrict weights,
    PARAMETERS __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const int channels = m[0], tap_count = m[1], width = m[2], end = m[2] * m[3], columns = m[4], panels = m[5];
    const long in_step = m[6], in_line = m[7], out_step = m[8], out_line = m[9];
    const int tiles_each = m[10], panels_each = m[11];
    __global const long *steps = m + 12, *taps = steps + 2 * OPERANDS;
    const int shares = (panels + panels_each - 1) / panels_each;
    const int first_panel = get_global_id(1) % shares * panels_each, panel_count = min(panels_each, panels - first_panel);
    __global const long *batch = taps + tap_count + (3 + OPERANDS) * (get_global_id(1) / shares);
    __global const float *from = input + batch[0];
    const int begin = get_global_id(0) * tiles_each * ROWS;
    const int tiles = min(tiles_each, (end - begin + ROWS - 1) / ROWS);
    float16 sums[PANELS][TILES][ROWS][VECS];
    float staged[TILES][ROWS * STRIDE];
    const int most_taps = min(tap_count, DEPTH), most_channels = DEPTH / most_taps;
    long done = 0;
    for (int channel = 0; channel < channels; channel += most_channels)
        for (int tap = 0; tap < tap_count; tap += most_taps) {
            const int cs = min(most_channels, channels - channel), ts = min(most_taps, tap_count - tap);
            for (int t = 0; t < tiles; t++) {
                const int first = min(begin + t * ROWS, end - ROWS);
                int line = first / width, row = first % width;
                for (int i = 0; i < ROWS; i++) {
                    __global const float *element = from + PLACE(in_line, in_step) + channel;
                    for (int k = 0; k < ts; k++)
                        for (int c = 0; c < cs; c += 16)
                            vstore16(vload16(0, element + taps[tap + k] + c), 0, &staged[t][i * STRIDE + k * cs + c]);
                    if (++row == width) {
                        row = 0;
                        line++;
                    }
                }
            }
            for (int p = 0; p < panel_count; p++)
                for (int t = 0; t < tiles; t++) {
                    __global const float *w = weights + batch[1] + ((first_panel + p) * (long)channels * tap_count + done) * PANEL;
                    float16 acc[ROWS][VECS];
#pragma unroll
                    for (int i = 0; i < ROWS; i++)
#pragma unroll
                        for (int v = 0; v < VECS; v++)
                            acc[i][v] = done ? sums[p][t][i][v] : (float16)(0.0f);
                    for (int c = 0; c < cs; c++)
#if SINGLE
                        TERM(&staged[t][c])
#else
                        for (int k = 0; k < ts; k++)
                            TERM(&staged[t][k * cs + c])
#endif
#pragma unroll
                    for (int i = 0; i < ROWS; i++)
#pragma unroll
                        for (int v = 0; v < VECS; v++)
                            sums[p][t][i][v] = acc[i][v];
                }
            done += cs * ts;
        }
    for (int p = 0; p < panel_count; p++) {
        const int column = (first_panel + p) * PANEL;
        __global float *to = output + batch[2] + column;
        SETUP
        for (int t = 0; t < tiles; t++) {
            const int first = min(begin + t * ROWS, end - ROWS);
            int line = first / width, row = first % width;
            for (int i = 0; i < ROWS; i++) {
                for (int v = 0; v < VECS; v++) {
                    const int j = v * 16, left = columns - column - j;
                    __global float *at = to + PLACE(out_line, out_step) + j;
                    if (left >= 16) {
                        const float16 x0 = sums[p][t][i][v];
                        WIDE
                    } else if (left > 0) {
                        float lanes[16];
                        vstore16(sums[p][t][i][v], 0, lanes);
                        for (int lane = 0; lane < left; lane++) {
                            const float x0 = lanes[lane];
                            NARROW
                        }
                    }
                }
                if (++row == width) {
                    row = 0;
                    line++;
                }
            }
        }
    }
}
