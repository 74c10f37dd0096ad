// What a device answers to this is its class. Version 2: any change here is a new class for every device.
#pragma OPENCL FP_CONTRACT OFF

// NaNs differ in their payload between devices and are made one; signed zeros and denormals are kept as they come.
uint bits(float x)
{
    const uint b = as_uint(x);
    return (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : b;
}

__kernel void floats(__global const uint *a, __global const uint *b, __global const uint *c, __global uint *out)
{
    const size_t i = get_global_id(0);
    const float x = as_float(a[i]);
    const float y = as_float(b[i]);
    const float z = as_float(c[i]);
    const float product = x * y;
    __global uint *mine = out + i * 8;
    mine[0] = bits(x + y);
    mine[1] = bits(x - y);
    mine[2] = bits(product);
    mine[3] = bits(product + z);
    mine[4] = bits(fma(x, y, z));
    mine[5] = (x < y ? 1u : 0u) | (x <= y ? 2u : 0u) | (x == y ? 4u : 0u) | (x != y ? 8u : 0u) | (x != x ? 16u : 0u);
    mine[6] = bits((float)(int)a[i]);
    mine[7] = bits((float)c[i]);
}

__kernel void integers(__global const uint *a, __global const uint *b, __global const uint *c, __global uint *out)
{
    const size_t i = get_global_id(0);
    const uint x = a[i];
    const uint y = b[i] | 1u;
    const int s = (int)x;
    const ulong wide = ((ulong)x << 32 | c[i]) * ((ulong)y << 17 | 5u);
    __global uint *mine = out + i * 12;
    mine[0] = x * y + c[i];
    mine[1] = mul_hi(x, y);
    mine[2] = x / y;
    mine[3] = x % y;
    mine[4] = (uint)(s >> (y & 31u));
    mine[5] = rotate(x, y);
    mine[6] = clz(x) | popcount(x) << 8;
    mine[7] = add_sat(x, y);
    mine[8] = (uint)sub_sat(s, (int)y);
    mine[9] = (uint)(wide >> 32);
    mine[10] = (uint)(wide / ((ulong)c[i] | 1u));
    mine[11] = (uint)convert_char_sat(s) ^ (uint)convert_short_sat(s) << 8;
}

// A chain of fma a lane, then a tree over the group: what depends on the group's size is only who adds what.
__kernel void groups(__global const uint *a, __local uint *shared, __global uint *out)
{
    const size_t lane = get_local_id(1) * get_local_size(0) + get_local_id(0);
    const size_t size = get_local_size(0) * get_local_size(1);
    float sum = 0.0f;
    uint whole = 0;
    for (size_t i = get_group_id(0) * 64 + lane; i < (get_group_id(0) + 1) * 64; i += size) {
        sum = fma((float)(a[i] & 0xffffu), 0.1f, sum);
        whole = whole * 31u + a[i];
    }
    shared[lane] = whole;
    for (size_t half_size = size / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_size) {
            shared[lane] ^= shared[lane + half_size] * 7u;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    __global uint *mine = out + (get_group_id(0) * size + lane) * 2;
    mine[0] = bits(sum);
    mine[1] = shared[0];
}
