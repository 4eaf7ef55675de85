// SPDX-License-Identifier: Apache-2.0
// An actuator: four channels with a position each, and a charge counter of 64 bits kept as two words (see sensor.c).
#define EXPORT(name) __attribute__((export_name("rig:scalar/actuator#" name)))

enum { CHANNELS = 4 };

static volatile int positions[CHANNELS] = {100, 200, 300, 400};
static volatile int output = 0x5AC70000;
static volatile unsigned charge_low = 0xFFFFFF00u;
static volatile unsigned charge_high = 0;

// Keeps clang from fusing a 32-bit access with the widening beside it into i64.load32_u or i64.store32.
static unsigned opaque(unsigned word) {
    __asm__("" : "+r"(word));
    return word;
}

static int clamp(int value, int minimum, int maximum) {
    if (value < minimum) return minimum;
    if (value > maximum) return maximum;
    return value;
}

EXPORT("drive") int drive(int value) {
    output = clamp(value, -32768, 32767);
    return output;
}

EXPORT("move") int move(unsigned channel, int target, int minimum, int maximum, int step, unsigned hold) {
    unsigned slot = channel % CHANNELS;
    int position = positions[slot];
    int goal = clamp(target, minimum, maximum);
    if (hold != 0) return position;
    if (position < goal) position = (int)((unsigned)position + (unsigned)step);
    if (position > goal) position = (int)((unsigned)position - (unsigned)step);
    positions[slot] = position;
    return position;
}

EXPORT("position") int position_of(unsigned channel) { return positions[channel % CHANNELS]; }

EXPORT("charge") unsigned long long charge(unsigned amount) {
    unsigned long long high = opaque(charge_high);
    unsigned long long total = (high << 32 | opaque(charge_low)) + amount;
    charge_low = opaque((unsigned)total);
    charge_high = opaque((unsigned)(total >> 32));
    return total;
}
