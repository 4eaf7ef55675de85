// SPDX-License-Identifier: Apache-2.0
// The intruder's tools: every export is one access at the address its caller names. The bodies must stay that plain
// (local.get … load or store … end), because the rig finds its attack tools by shape.
#pragma once

#define EXPORT(name) __attribute__((export_name(name)))

// Address + FAR leaves 32 bits for addresses from 0x80000010 on; FAR itself is below 2^31, so that clang folds it into
// the instruction as its static offset.
enum { FAR = 0x7FFFFFF0 };

EXPORT("load8-u") unsigned load8_u(const volatile unsigned char *address) { return *address; }
EXPORT("load8-s") int load8_s(const volatile signed char *address) { return *address; }
EXPORT("load16-u") unsigned load16_u(const volatile unsigned short *address) { return *address; }
EXPORT("load16-s") int load16_s(const volatile short *address) { return *address; }
EXPORT("load32") unsigned load32(const volatile unsigned *address) { return *address; }
EXPORT("load32-far") unsigned load32_far(const volatile unsigned *address) { return address[FAR / 4]; }

EXPORT("store8") void store8(volatile unsigned char *address, unsigned value) { *address = (unsigned char)value; }
EXPORT("store16") void store16(volatile unsigned short *address, unsigned value) { *address = (unsigned short)value; }
EXPORT("store32") void store32(volatile unsigned *address, unsigned value) { *address = value; }
EXPORT("store32-far") void store32_far(volatile unsigned *address, unsigned value) { address[FAR / 4] = value; }

// Uses 48 bytes of shadow stack per level.
EXPORT("deep") unsigned deep(unsigned depth) {
    volatile unsigned frame[12];
    frame[depth % 12] = depth;
    if (depth == 0) return frame[0];
    unsigned below = deep(depth - 1);
    return below + frame[depth % 12];
}
