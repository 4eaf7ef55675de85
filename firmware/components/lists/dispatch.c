// SPDX-License-Identifier: Apache-2.0
// Calls through a function pointer before it touches its statics. meld 0.65.1 drops the relocations behind the indirect
// call (F12): in model 1 `go` then reads the first component's data instead of its own.
#define EXPORT(name) __attribute__((export_name(name)))

static volatile unsigned state[4] = {0x22222222, 5, 7, 11};

static unsigned plus_one(unsigned x) { return x + 1; }
static unsigned twice(unsigned x) { return x * 2; }
static unsigned (*volatile table[2])(unsigned) = {plus_one, twice};

EXPORT("go") unsigned go(unsigned selector, unsigned operand) {
    unsigned before = state[0];
    unsigned called = table[selector % 2](operand);
    unsigned after = state[1];
    return before + called + after;
}

EXPORT("plain") unsigned plain(void) { return state[2] + state[3]; }
