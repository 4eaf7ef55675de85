// SPDX-License-Identifier: Apache-2.0
// A sensor driver: raw counts in, scaled and filtered value out, everything remembered.
//
// State is volatile and touched word by word: clang would otherwise join two neighbouring stores into one i64.store,
// which synth does not lower for any memory but the first.
#define EXPORT(name) __attribute__((export_name("rig:scalar/sensor#" name)))

enum { HISTORY = 8 };

static volatile int gain = 4;
static volatile int offset = -20;
static volatile int last = 0;
static volatile unsigned count = 0;
static volatile int history[HISTORY] = {11, 13, 17, 19, 23, 29, 31, 37};

EXPORT("configure") void configure(int new_gain, int new_offset) {
    gain = new_gain;
    offset = new_offset;
}

EXPORT("sample") int sample(int raw) {
    unsigned slot = count % HISTORY;
    // Unsigned arithmetic: overflow wraps, as the hardware does, and is the same on every lowering.
    unsigned scaled = (unsigned)raw * (unsigned)gain + (unsigned)offset;
    history[slot] = (int)scaled;
    count = count + 1;
    last = (int)(((unsigned)last + scaled) >> 1);
    return last;
}

EXPORT("read") int read_value(void) { return last; }

EXPORT("samples") unsigned samples(void) { return count; }
