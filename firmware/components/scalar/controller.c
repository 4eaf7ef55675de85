// SPDX-License-Identifier: Apache-2.0
// A controller: reads the sensor, computes, drives the actuator. Its exports are what a run calls and compares.
#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(from, name) __attribute__((import_module("rig:scalar/" from), import_name(name)))

IMPORT("sensor", "configure") void sensor_configure(int gain, int offset);
IMPORT("sensor", "sample") int sensor_sample(int raw);
IMPORT("sensor", "samples") unsigned sensor_samples(void);
IMPORT("actuator", "drive") int actuator_drive(int value);
IMPORT("actuator", "move")
int actuator_move(unsigned channel, int target, int minimum, int maximum, int step, unsigned hold);
IMPORT("actuator", "position") int actuator_position(unsigned channel);
IMPORT("actuator", "charge") unsigned long long actuator_charge(unsigned amount);

static volatile int setpoint = 1000;
static volatile int error_sum = 0;
static volatile unsigned rounds_done = 0;

EXPORT("tune") void tune(int gain, int new_setpoint) {
    setpoint = new_setpoint;
    error_sum = 0;
    sensor_configure(gain, 3);
}

EXPORT("step") __attribute__((noinline)) int step(int raw) {
    unsigned error = (unsigned)setpoint - (unsigned)sensor_sample(raw);
    error_sum = (int)((unsigned)error_sum + error);
    rounds_done = rounds_done + 1;
    return actuator_drive((int)(error + ((unsigned)error_sum >> 3)));
}

EXPORT("run") int run(unsigned char rounds, int raw) {
    volatile int latest;  // lives on the shadow stack
    latest = 0;
    for (unsigned i = 0; i < rounds % 16u; i++) {
        int moved = step((int)((unsigned)raw + i));
        __asm__("" : "+r"(moved));
        latest = moved;
    }
    unsigned taken = sensor_samples();
    return (int)((unsigned)latest + taken);
}

// Both trap in wasm for a zero divisor, `ratio` for INT_MIN / -1 too, and so they must natively.
EXPORT("ratio") int ratio(int dividend, int divisor) { return dividend / divisor; }

EXPORT("remainder") int remainder_of(int dividend, int divisor) { return dividend % divisor; }

EXPORT("sweep") int sweep(unsigned channel, int target, int minimum, int maximum, int by, unsigned hold) {
    int moved = actuator_move(channel, target, minimum, maximum, by, hold);
    return (int)((unsigned)moved + (unsigned)actuator_position(channel + 1));
}

EXPORT("charge") unsigned long long charge(unsigned amount) { return actuator_charge(amount) + 1; }

// Reaches `unreachable` for one mode.
EXPORT("select") unsigned select_mode(unsigned mode) {
    if (mode == 0xFFFFFFFFu) __builtin_trap();
    return mode % 7;
}
