// SPDX-License-Identifier: Apache-2.0
// A clock of 64 bits.
#define EXPORT(name) __attribute__((export_name("rig:wide/clock#" name)))

static volatile unsigned long long ticks = 0x00000000FFFFFFF0ull;
static volatile unsigned long long history[4] = {1, 2, 3, 5};

EXPORT("advance") unsigned long long advance(unsigned long long by) {
    history[ticks % 4] = by;
    ticks = ticks + by;
    return ticks;
}

EXPORT("now") unsigned long long now(void) { return ticks; }

EXPORT("mix") long long mix(unsigned a, unsigned long long b, unsigned c, long long d, unsigned e) {
    unsigned long long low = b ^ (unsigned long long)d;
    return (long long)(low + ((unsigned long long)a << 32) + c * 3ull + e + history[a % 4]);
}
