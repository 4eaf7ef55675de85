// SPDX-License-Identifier: Apache-2.0
// A low-pass filter with double and single precision state.
#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("rig:wide/clock"), import_name(name)))

IMPORT("advance") unsigned long long clock_advance(unsigned long long by);
IMPORT("now") unsigned long long clock_now(void);
IMPORT("mix") long long clock_mix(unsigned a, unsigned long long b, unsigned c, long long d, unsigned e);

static volatile double state = 0.5;
static volatile float weights[4] = {0.25f, 0.5f, 0.75f, 1.0f};
static volatile unsigned index = 0;

EXPORT("sample") double sample(double value, float weight) {
    weights[index % 4] = weight;
    index = index + 1;
    state = state + (value - state) * (double)weights[(index + 1) % 4];
    return state;
}

EXPORT("level") double level(void) { return state; }

EXPORT("narrow") float narrow(double value) {
    volatile float rounded = (float)value;
    return rounded + weights[3];
}

EXPORT("truncate") int truncate(double value) { return __builtin_wasm_trunc_saturate_s_i32_f64(value); }

EXPORT("spread") double spread(float a, double b, long long c, float d, double e) {
    return (double)a * b + (double)c - (double)d / (e == 0.0 ? 1.0 : e);
}

EXPORT("elapsed") unsigned long long elapsed(unsigned long long ticks) {
    unsigned long long before = clock_now();
    return clock_advance(ticks) - before;
}

EXPORT("mixed") long long mixed(unsigned a, unsigned long long b, long long d) { return clock_mix(a, b, ~a, d, 7); }

EXPORT("quotient") long long quotient(long long dividend, long long divisor) { return dividend / divisor; }
