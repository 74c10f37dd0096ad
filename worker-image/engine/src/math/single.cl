// Functions that are rare in models, of one float at a time: the twin of src/math/angle.rs and src/math/power.rs.

__constant uint ORION_TWO_OVER_PI[] = {ORION_TWO_OVER_PI_WORDS};

// x as an angle within pi / 4 and the quarter turns before it, exact to some 60 bits of the turn.
float orion_angle(float x, int *quarter)
{
    const float a = as_float(as_int(x) & 0x7fffffff);
    if (a < as_float(0x3f490fdb)) {
        *quarter = 0;
        return x;
    }
    // a = m 2^e, and of m 2^e (2 / pi) the bits from 2 down: those above are whole turns.
    const int e = (as_int(a) >> 23) - 150;
    const ulong m = (as_int(a) & 0x007fffff) | 0x00800000;
    const int at = e - 2 + 32, word = at >> 5, shift = at & 31;
    uint t[3];
    for (int i = 0; i < 3; i++) {
        const ulong two = (ulong)ORION_TWO_OVER_PI[word + i] << 32 | ORION_TWO_OVER_PI[word + i + 1];
        t[i] = (uint)(two >> (32 - shift));
    }
    const ulong low = m * t[2];
    const ulong mid = m * t[1] + (low >> 32);
    const uint high = (uint)(m * t[0]) + (uint)(mid >> 32);
    // 96 bits: two of quarters, then the fraction.
    const ulong top = (ulong)high << 32 | (uint)mid;
    const ulong fraction = top << 2 | (ulong)((uint)low >> 30);
    const long part = (long)fraction;
    const int turns = (int)(high >> 30) + (part < 0 ? 1 : 0);
    const float near = convert_float_rte(part);
    // The rest is exact while `near` is within range.
    const float left = near >= 0x1p63f ? 0.0f : convert_float_rte(part - convert_long_rtz(near));
    const float first = left * ORION_HALF_PI_2_64_HI;
    const float second = fma(near, ORION_HALF_PI_2_64_LO, first);
    const float r = fma(near, ORION_HALF_PI_2_64_HI, second);
    *quarter = x < 0.0f ? (4 - (turns & 3)) & 3 : turns & 3;
    return x < 0.0f ? -r : r;
}

float orion_sin_poly(float r)
{
    const float z = r * r;
    float p = ORION_SIN_3;
    p = fma(p, z, ORION_SIN_2);
    p = fma(p, z, ORION_SIN_1);
    p = fma(p, z, ORION_SIN_0);
    const float bent = p * z;
    return fma(bent, r, r);
}

float orion_cos_poly(float r)
{
    const float z = r * r;
    float p = ORION_COS_3;
    p = fma(p, z, ORION_COS_2);
    p = fma(p, z, ORION_COS_1);
    p = fma(p, z, ORION_COS_0);
    const float square = z * z;
    const float bent = p * square;
    const float flat = fma(z, -0.5f, bent);
    return flat + 1.0f;
}

float orion_turned(float x, int ahead)
{
    if (!(as_float(as_int(x) & 0x7fffffff) < INFINITY))
        return as_float(0x7fc00000);
    int quarter;
    const float r = orion_angle(x, &quarter);
    const int side = (quarter + ahead) & 3;
    const float value = (side & 1) ? orion_cos_poly(r) : orion_sin_poly(r);
    return (side & 2) ? -value : value;
}

float orion_sin(float x) { return orion_turned(x, 0); }
float orion_cos(float x) { return orion_turned(x, 1); }

// log2 of a finite positive float as the sum of two.
float orion_log2(float x, float *low)
{
    int n;
    const float one = orion_mantissa(x, &n);
    const bool large = one > 1.41421354f;
    const float m = large ? one * 0.5f : one;
    const float k = convert_float_rte(n + (large ? 1 : 0));
    const float num = m - 1.0f;
    const float den = m + 1.0f;
    const float den_whole = den - 1.0f;
    const float den_low = m - den_whole;
    const float s = orion_div(num, den);
    const float first = fma(-s, den, num);
    const float second = fma(-s, den_low, first);
    const float s_low = orion_div(second, den);
    const float z = s * s;
    float p = ORION_ATANH_3;
    p = fma(p, z, ORION_ATANH_2);
    p = fma(p, z, ORION_ATANH_1);
    p = fma(p, z, ORION_ATANH_0);
    const float cube = z * s;
    const float bent = fma(p, cube, s_low);
    // (s + bent) times 2 log2(e), then k.
    const float high = s * ORION_TWO_LOG2_E_HI;
    const float lost = fma(s, ORION_TWO_LOG2_E_HI, -high);
    const float third = fma(s, ORION_TWO_LOG2_E_LO, lost);
    const float tail = fma(bent, ORION_TWO_LOG2_E_HI, third);
    const float sum = k + high;
    const float back = sum - k;
    const float gone = high - back;
    const float rest = gone + tail;
    // |k| is 0 or larger than what is added: nothing is lost but what `gone` holds.
    const float all = sum + rest;
    const float kept = all - sum;
    *low = rest - kept;
    return all;
}

float orion_exp2_of(float high, float low)
{
    const float above = high > 200.0f ? 200.0f : high;
    const float within = above < -200.0f ? -200.0f : above;
    const int n = convert_int_rte(within);
    const float whole = convert_float_rte(n);
    const float left = within - whole;
    const float r = within == high ? left + low : left;
    float p = ORION_EXP2_6;
    p = fma(p, r, ORION_EXP2_5);
    p = fma(p, r, ORION_EXP2_4);
    p = fma(p, r, ORION_EXP2_3);
    p = fma(p, r, ORION_EXP2_2);
    p = fma(p, r, ORION_EXP2_1);
    p = fma(p, r, ORION_EXP2_0);
    const float value = fma(p, r, 1.0f);
    return orion_scale(value, n);
}

float orion_pow(float x, float y)
{
    const float a = as_float(as_int(x) & 0x7fffffff), b = as_float(as_int(y) & 0x7fffffff);
    if (b == 0.0f || x == 1.0f)
        return 1.0f;
    if (x != x || y != y)
        return as_float(0x7fc00000);
    // Floats from 2^24 on are even.
    const bool whole = b >= 16777216.0f || convert_float_rte(convert_int_rtz(b)) == b;
    const bool odd = b < 16777216.0f && whole && (convert_int_rtz(b) & 1) == 1;
    const int sign = odd ? as_int(x) & (int)0x80000000 : 0;
    if (b == INFINITY) {
        if (a == 1.0f)
            return 1.0f;
        return (a > 1.0f) == (y > 0.0f) ? INFINITY : 0.0f;
    }
    if (a == 0.0f || a == INFINITY)
        return as_float(((a == 0.0f) == (y > 0.0f) ? 0 : 0x7f800000) | sign);
    if (x < 0.0f && !whole)
        return as_float(0x7fc00000);
    float low;
    const float high = orion_log2(a, &low);
    const float product = y * high;
    const float lost = fma(y, high, -product);
    const float tail = fma(y, low, lost);
    // Beyond the range only the sign of the logarithm matters.
    const float value = orion_exp2_of(product, fabs(product) < 200.0f ? tail : 0.0f);
    return as_float(as_int(value) | sign);
}

// Towards zero; beyond the range the nearest end, NaN is 0.
long orion_to_long(float x)
{
    return x != x ? 0 : x >= 0x1p63f ? LONG_MAX : x < -0x1p63f ? LONG_MIN : convert_long_rtz(x);
}

int orion_to_int(float x)
{
    return x != x ? 0 : x >= 0x1p31f ? INT_MAX : x < -0x1p31f ? INT_MIN : convert_int_rtz(x);
}
