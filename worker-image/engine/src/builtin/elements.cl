// What integers and conversions mean here (docs/kernel-set.md, arithmetic 5): no overflow, quotient or conversion is undefined. The functions of T
// stand in a program for int and for long, whose unsigned integers are U; N(name) is the function's name.

T N(quotient)(T x, T y) { return y == 0 ? 0 : y == -1 ? (T)(0 - (U)x) : x / y; }

T N(rem)(T x, T y) { return y == 0 || y == -1 ? 0 : x % y; }

T N(mod)(T x, T y)
{
    const T rest = N(rem)(x, y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

T N(power)(T x, T y)
{
    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
    U all = 1, square = (U)x;
    for (T left = y; left > 0; left /= 2) {
        if (left % 2 == 1)
            all *= square;
        square *= square;
    }
    return (T)all;
}
