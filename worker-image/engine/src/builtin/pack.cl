// Weights as the contraction reads them: [panel][k][PANEL], zeros beyond the last column. PANEL and GROUP are defined before this text.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void pack(
    __global float *restrict packed, __global const float *restrict matrix, __global const long *metas, const long meta)
{
    __global const long *m = metas + meta;
    const long depth = m[0], columns = m[1], panels = m[2], k_step = m[3], column_step = m[4];
    const long panel = get_global_id(2) % panels, batch = get_global_id(2) / panels;
    __global const float *from = matrix + m[5 + batch] + panel * PANEL * column_step;
    __global float *to = packed + (batch * panels + panel) * depth * PANEL;
    const int valid = min((long)PANEL, columns - panel * PANEL);
    for (long k = get_global_id(1); k < depth; k += get_global_size(1))
        for (int column = get_local_id(0); column < PANEL; column += GROUP)
            to[k * PANEL + column] = column < valid ? from[k * k_step + column * column_step] : 0.0f;
}
