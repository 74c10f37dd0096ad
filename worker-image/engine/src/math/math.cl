// Our own functions of floats, in + - * fma, comparisons and integers alone (docs/kernel-set.md): the twin of src/math/*.rs, statement by statement.
//
// This text stands in a program twice: with F a float, and with F sixteen of them. Before it are defined F, I (its integers), N(name) (the
// function's name), AS_F, AS_I, ANY (whether any of so many integers is not 0), INLINE, and the constants. Drivers convert sixteen floats by calls: none
// is made.

#define K(value) ((F)(value))
#define KI(value) ((I)(value))

// 2^n for n from -126 to 127.
INLINE F N(power)(I n) { return AS_F((n + 127) << 23); }

// x 2^n, rounded once, for 1/2 <= x < 4, or where that is exact: the first factor leaves x normal, and beyond 250 nothing changes any more.
INLINE F N(scale)(F x, I n)
{
    const I low = n < KI(-252) ? KI(-252) : n;
    const I within = low > KI(250) ? KI(250) : low;
    const I half_n = within >> 1;
    const F near = x * N(power)(half_n);
    return near * N(power)(within - half_n);
}

// The integer nearest to x, ties to even, for |x| < 2^22: the sum's last place is 1.
INLINE I N(nearest)(F x) { return AS_I(x + K(12582912.0f)) - KI(0x4b400000); }

// n as a float, for |n| < 2^22.
INLINE F N(whole)(I n) { return AS_F(n + KI(0x4b400000)) - K(12582912.0f); }

// x as m 2^n with 1 <= m < 2; x is finite, positive and not 0. A denormal is made normal first.
INLINE F N(mantissa)(F x, I *n)
{
    const I small = AS_I(x) < KI(0x00800000) ? KI(1) : KI(0);
    const F wide = x * K(16777216.0f);
    const F normal = small == KI(1) ? wide : x;
    const I word = AS_I(normal);
    const I exponent = (word >> 23) - KI(127);
    *n = small == KI(1) ? exponent - KI(24) : exponent;
    return AS_F((word & KI(0x007fffff)) | KI(0x3f800000));
}

INLINE F N(max)(F x, F y)
{
    const F larger = x > y ? x : y;
    const F second = y != y ? y : larger;
    return x != x ? x : second;
}

INLINE F N(min)(F x, F y)
{
    const F smaller = x < y ? x : y;
    const F second = y != y ? y : smaller;
    return x != x ? x : second;
}

// 1 / y for 1 <= y < 2 to the last bit or the one before: a straight line through bits, then Newton.
INLINE F N(inverse)(F y)
{
    F r = AS_F(KI(0x7ef311c3) - AS_I(y));
#pragma unroll
    for (int step = 0; step < 4; step++) {
        const F e = fma(-y, r, K(1.0f));
        r = fma(r, e, r);
    }
    return r;
}

// p / d rounded, and what is left of p, for positive p and d within 2^60 of 1.
INLINE F N(quotient)(F p, F d, F *rest)
{
    const F r = N(inverse)(d);
    const F guess = p * r;
    const F first = fma(-d, guess, p);
    const F near = fma(first, r, guess);
    const F second = fma(-d, near, p);
    const F most = fma(second, r, near);
    const F most_rest = fma(-d, most, p);
    // `r` may be half a last place off, and the quotient the farther of two floats: remainders are exact and tell.
    const F other = AS_F(AS_I(most) + (most_rest > K(0.0f) ? KI(1) : KI(-1)));
    const F other_rest = fma(-d, other, p);
    const I nearer = AS_F(AS_I(other_rest) & KI(0x7fffffff)) < AS_F(AS_I(most_rest) & KI(0x7fffffff)) ? KI(1) : KI(0);
    *rest = nearer == KI(1) ? other_rest : most_rest;
    return nearer == KI(1) ? other : most;
}

// a / b for any a and b that have no sign.
INLINE F N(ratio)(F a, F b)
{
    const I finite_a = a > K(0.0f) && a < K(INFINITY) ? KI(1) : KI(0), finite_b = b > K(0.0f) && b < K(INFINITY) ? KI(1) : KI(0);
    I n, m;
    const F p = N(mantissa)(finite_a == KI(1) ? a : K(1.0f), &n);
    const F d = N(mantissa)(finite_b == KI(1) ? b : K(1.0f), &m);
    F rest;
    const F q = N(quotient)(p, d, &rest);
    const I e = n - m;
    const F value = N(scale)(q, e);
    // Below the normal range the quotient was rounded a second time. If it stood in the middle of two floats only because of the first time,
    // the remainder says which of them is nearer.
    const I low = e < KI(-160) ? KI(-160) : e > KI(-100) ? KI(-100) : e;
    const F back = N(scale)(value, -low);
    const F off = q - back;
    const F apart = N(power)(KI(-150) - low < KI(-126) ? KI(-126) : KI(-150) - low);
    const I up = off == apart && rest > K(0.0f) ? KI(1) : KI(0), down = off == -apart && rest < K(0.0f) ? KI(1) : KI(0);
    const I small = AS_I(value) < KI(0x00800001) && e >= KI(-160) ? KI(1) : KI(0);
    const F once = AS_F(AS_I(value) + (small == KI(1) ? up - down : KI(0)));
    const F zero = K(0.0f), infinite = K(INFINITY), nan = AS_F(KI(0x7fc00000));
    const F over = b == zero ? (a == zero ? nan : infinite) : (b == infinite ? (a == infinite ? nan : zero) : once);
    const F all = a == infinite ? (b == infinite ? nan : infinite) : (a == zero ? (b == zero ? nan : zero) : over);
    return a != a || b != b ? nan : all;
}

INLINE F N(div)(F x, F y)
{
    const I sign = (AS_I(x) ^ AS_I(y)) & KI((int)0x80000000);
    const F a = AS_F(AS_I(x) & KI(0x7fffffff)), b = AS_F(AS_I(y) & KI(0x7fffffff));
    const F least = K(0x1p-60f), most = K(0x1p60f);
    const I usual = a > least && a < most && b > least && b < most ? KI(1) : KI(0);
    if (ANY(usual == KI(0))) {
        const F value = N(ratio)(a, b);
        return value != value ? value : AS_F(AS_I(value) | sign);
    }
    F rest;
    return AS_F(AS_I(N(quotient)(a, b, &rest)) | sign);
}

INLINE F N(sqrt)(F x)
{
    const I fits = x > K(0.0f) && x < K(INFINITY) ? KI(1) : KI(0);
    I n;
    const F one = N(mantissa)(fits == KI(1) ? x : K(1.0f), &n);
    const I odd = n & KI(1);
    const F m = odd == KI(1) ? one * K(2.0f) : one;
    F r = AS_F(KI(0x5f375a86) - (AS_I(m) >> 1));
#pragma unroll
    for (int step = 0; step < 4; step++) {
        const F square = r * r;
        const F e = fma(-m, square, K(1.0f));
        const F step_half = r * K(0.5f);
        r = fma(step_half, e, r);
    }
    const F guess = m * r;
    const F half_r = r * K(0.5f);
    const F first = fma(-guess, guess, m);
    const F near = fma(first, half_r, guess);
    const F second = fma(-near, near, m);
    const F root = fma(second, half_r, near);
    const F value = N(scale)(root, (n - odd) >> 1);
    const F rest = x < K(0.0f) || x != x ? AS_F(KI(0x7fc00000)) : x;
    return fits == KI(1) ? value : rest;
}

INLINE F N(rsqrt)(F x)
{
    const F root = N(sqrt)(x);
    return N(div)(K(1.0f), root);
}

// e^r - 1 for |r| within half of ln 2.
INLINE F N(expm1_poly)(F r)
{
    F p = K(ORION_EXP_5);
    p = fma(p, r, K(ORION_EXP_4));
    p = fma(p, r, K(ORION_EXP_3));
    p = fma(p, r, K(ORION_EXP_2));
    p = fma(p, r, K(ORION_EXP_1));
    p = fma(p, r, K(ORION_EXP_0));
    const F square = r * r;
    return fma(p, square, r);
}

// e^x as m 2^n with m near 1, for |x| up to 110.
INLINE F N(exp_parts)(F x, I *n)
{
    const F turns = x * K(ORION_LOG2_E);
    *n = N(nearest)(turns);
    const F k = N(whole)(*n);
    const F high = fma(-k, K(ORION_LN2_HI), x);
    const F r = fma(-k, K(ORION_LN2_LO), high);
    return N(expm1_poly)(r) + K(1.0f);
}

INLINE F N(exp)(F x)
{
    const F above = x > K(90.0f) ? K(90.0f) : x;
    const F within = above < K(-110.0f) ? K(-110.0f) : above;
    const F safe = x != x ? K(0.0f) : within;
    I n;
    const F m = N(exp_parts)(safe, &n);
    const F value = N(scale)(m, n);
    return x != x ? AS_F(KI(0x7fc00000)) : value;
}

// What exp gives for |x| up to 80, where neither m 2^n nor 2^n leaves the normal range, so that one factor does: of others it gives anything.
INLINE F N(exp_near)(F x)
{
    I n;
    const F m = N(exp_parts)(x, &n);
    return m * N(power)(n);
}

INLINE F N(log)(F x)
{
    const I fits = x > K(0.0f) && x < K(INFINITY) ? KI(1) : KI(0);
    I n;
    const F one = N(mantissa)(fits == KI(1) ? x : K(1.0f), &n);
    const I large = one > K(1.41421354f) ? KI(1) : KI(0);
    const F m = large == KI(1) ? one * K(0.5f) : one;
    const F k = N(whole)(n + large);
    const F f = m - K(1.0f);
    F p = K(ORION_LOG_8);
    p = fma(p, f, K(ORION_LOG_7));
    p = fma(p, f, K(ORION_LOG_6));
    p = fma(p, f, K(ORION_LOG_5));
    p = fma(p, f, K(ORION_LOG_4));
    p = fma(p, f, K(ORION_LOG_3));
    p = fma(p, f, K(ORION_LOG_2));
    p = fma(p, f, K(ORION_LOG_1));
    p = fma(p, f, K(ORION_LOG_0));
    const F square = f * f;
    const F cube = square * f;
    const F low = k * K(ORION_LN2_LO);
    const F tail = fma(p, cube, low);
    const F curved = fma(square, K(-0.5f), tail);
    const F near = f + curved;
    const F value = fma(k, K(ORION_LN2_HI), near);
    const F at_end = x == K(0.0f) ? K(-INFINITY) : (x == K(INFINITY) ? x : AS_F(KI(0x7fc00000)));
    return fits == KI(1) ? value : at_end;
}

INLINE F N(sigmoid)(F x)
{
    const F power = N(exp)(-x);
    return N(div)(K(1.0f), power + K(1.0f));
}

INLINE F N(tanh)(F x)
{
    const I sign = AS_I(x) & KI((int)0x80000000);
    const F a = AS_F(AS_I(x) & KI(0x7fffffff));
    const F z = a * a;
    F p = K(ORION_TANH_5);
    p = fma(p, z, K(ORION_TANH_4));
    p = fma(p, z, K(ORION_TANH_3));
    p = fma(p, z, K(ORION_TANH_2));
    p = fma(p, z, K(ORION_TANH_1));
    p = fma(p, z, K(ORION_TANH_0));
    const F bent = p * z;
    const F near = fma(bent, a, a);
    // From 40 on the quotient is less than half of the last place of 1, and up to there it is one of the usual.
    const F doubled = a + a;
    const F power = N(exp_near)(doubled > K(40.0f) ? K(40.0f) : doubled);
    const F part = N(div)(K(2.0f), power + K(1.0f));
    const F far = K(1.0f) - part;
    const F value = a < K(0.55f) ? near : far;
    return x != x ? AS_F(KI(0x7fc00000)) : AS_F(AS_I(value) | sign);
}

INLINE F N(erf)(F x)
{
    const I sign = AS_I(x) & KI((int)0x80000000);
    const F a = AS_F(AS_I(x) & KI(0x7fffffff));
    const F z = a * a;
    F p = K(ORION_ERF_6);
    p = fma(p, z, K(ORION_ERF_5));
    p = fma(p, z, K(ORION_ERF_4));
    p = fma(p, z, K(ORION_ERF_3));
    p = fma(p, z, K(ORION_ERF_2));
    p = fma(p, z, K(ORION_ERF_1));
    p = fma(p, z, K(ORION_ERF_0));
    const F near = p * a;
    const F c = a > K(3.95f) ? K(3.95f) : a;
    F q = K(ORION_ERFC_9);
    q = fma(q, c, K(ORION_ERFC_8));
    q = fma(q, c, K(ORION_ERFC_7));
    q = fma(q, c, K(ORION_ERFC_6));
    q = fma(q, c, K(ORION_ERFC_5));
    q = fma(q, c, K(ORION_ERFC_4));
    q = fma(q, c, K(ORION_ERFC_3));
    q = fma(q, c, K(ORION_ERFC_2));
    q = fma(q, c, K(ORION_ERFC_1));
    q = fma(q, c, K(ORION_ERFC_0));
    // Up to 3.95 q is less than 17.
    const F rest = N(exp_near)(-q);
    const F far = K(1.0f) - rest;
    const F value = a < K(0.875f) ? near : far;
    return x != x ? AS_F(KI(0x7fc00000)) : AS_F(AS_I(value) | sign);
}

INLINE F N(gelu)(F x)
{
    const F scaled = x * K(ORION_SQRT_HALF);
    const F gate = N(erf)(scaled) + K(1.0f);
    const F halved = x * K(0.5f);
    const F value = halved * gate;
    const F at_end = x < K(0.0f) ? K(0.0f) : x;
    return AS_F(AS_I(x) & KI(0x7fffffff)) == K(INFINITY) ? at_end : value;
}
