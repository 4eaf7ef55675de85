// SPDX-License-Identifier: Apache-2.0
// The part of math.h that wasm2c's output uses. Functions come from the compiler's runtime library.
#pragma once

#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define signbit(x) __builtin_signbit(x)

double ceil(double), floor(double), trunc(double), sqrt(double);
float ceilf(float), floorf(float), truncf(float), sqrtf(float);
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define copysign(x, y) __builtin_copysign(x, y)
#define copysignf(x, y) __builtin_copysignf(x, y)

// Round to nearest, ties to even: adding and subtracting 2^52 (2^23) drops the fraction in the current rounding mode,
// which is never changed. The sign of a zero result is that of the argument.
static inline double nearbyint(double x) {
    const double big = 0x1p52;
    double magnitude = __builtin_fabs(x);
    if (!(magnitude < big)) return x;
    volatile double shifted = magnitude + big;
    return __builtin_copysign(shifted - big, x);
}

static inline float nearbyintf(float x) {
    const float big = 0x1p23f;
    float magnitude = __builtin_fabsf(x);
    if (!(magnitude < big)) return x;
    volatile float shifted = magnitude + big;
    return __builtin_copysignf(shifted - big, x);
}
