// SPDX-License-Identifier: Apache-2.0
// An application that logs from its own buffer.
#define EXPORT(name) __attribute__((export_name(name)))

__attribute__((import_module("rig:lists/log"), import_name("push"))) unsigned log_push(
    const volatile unsigned char *bytes, unsigned length);
__attribute__((import_module("rig:lists/log"), import_name("total"))) unsigned log_total(void);

enum { SIZE = 64 };

static volatile unsigned char buffer[SIZE] = "the quick brown fox jumps over the lazy dog";
static volatile unsigned sent = 0xA99A99;

EXPORT("send") unsigned send(unsigned offset, unsigned length) {
    sent = sent + 1;
    return log_push((const volatile unsigned char *)((unsigned)buffer + offset), length);
}

EXPORT("greet") unsigned greet(unsigned char times) {
    unsigned result = sent;
    for (unsigned i = 0; i < times % 8u; i++) result ^= log_push(buffer + i % 16, 16 + i % 32);
    return result + log_total();
}

EXPORT("fill") unsigned fill(unsigned seed) {
    unsigned value = seed;
    for (unsigned i = 0; i < SIZE; i++) {
        value = value * 1103515245u + 12345u;
        buffer[i] = (unsigned char)(value >> 16);
    }
    return value;
}
