// SPDX-License-Identifier: Apache-2.0
// A logger: keeps the last bytes it was given, and a sum of all. Volatile words throughout: see scalar/sensor.c.
#define EXPORT(name) __attribute__((export_name(name)))

enum { ARENA = 2048, KEPT = 64 };

static volatile unsigned sum = 0x10661066;
static volatile unsigned pushed = 0;
static volatile unsigned char kept[KEPT];
static unsigned arena_used = 0;
static unsigned char arena[ARENA] __attribute__((aligned(16)));

// Arguments live only as long as one call, so the arena starts again when it is full.
EXPORT("cabi_realloc") void *cabi_realloc(void *old, unsigned old_size, unsigned align, unsigned size) {
    (void)old;
    (void)old_size;
    if (size > ARENA) __builtin_trap();
    unsigned start = (arena_used + align - 1) & ~(align - 1);
    if (start > ARENA - size) start = 0;
    arena_used = start + size;
    return arena + start;
}

// A function of its own: inlined into the loop below, synth 0.89.0 runs out of registers and takes the one that holds
// `bytes` (docs/findings.md, "a parameter lost in a loop"). C-03 saw it.
static __attribute__((noinline)) void keep(unsigned char byte) {
    kept[pushed % KEPT] = byte;
    pushed = pushed + 1;
    sum = sum * 31 + byte;
}

EXPORT("rig:lists/log#push") unsigned push(const volatile unsigned char *bytes, unsigned length) {
#pragma clang loop unroll(disable)
    for (unsigned i = 0; i < length; i++) keep(bytes[i]);
    return sum;
}

EXPORT("rig:lists/log#total") unsigned total(void) { return pushed; }
