// SPDX-License-Identifier: Apache-2.0
// The intruder's tools for 64-bit and floating-point data; see access32.h.
#pragma once

#include "access32.h"

typedef unsigned long long u64;
typedef long long s64;

EXPORT("load64") u64 load64(const volatile u64 *address) { return *address; }
EXPORT("load64-far") u64 load64_far(const volatile u64 *address) { return address[FAR / 8]; }
EXPORT("load64-from8-u") u64 load64_from8_u(const volatile unsigned char *address) { return *address; }
EXPORT("load64-from8-s") s64 load64_from8_s(const volatile signed char *address) { return *address; }
EXPORT("load64-from16-u") u64 load64_from16_u(const volatile unsigned short *address) { return *address; }
EXPORT("load64-from16-s") s64 load64_from16_s(const volatile short *address) { return *address; }
EXPORT("load64-from32-u") u64 load64_from32_u(const volatile unsigned *address) { return *address; }
EXPORT("load64-from32-s") s64 load64_from32_s(const volatile int *address) { return *address; }
EXPORT("load-f32") float load_f32(const volatile float *address) { return *address; }
EXPORT("load-f64") double load_f64(const volatile double *address) { return *address; }

EXPORT("store64") void store64(volatile u64 *address, u64 value) { *address = value; }
EXPORT("store64-far") void store64_far(volatile u64 *address, u64 value) { address[FAR / 8] = value; }
EXPORT("store64-to8") void store64_to8(volatile unsigned char *address, u64 value) { *address = (unsigned char)value; }
EXPORT("store64-to16") void store64_to16(volatile unsigned short *address, u64 value) {
    *address = (unsigned short)value;
}
EXPORT("store64-to32") void store64_to32(volatile unsigned *address, u64 value) { *address = (unsigned)value; }
EXPORT("store-f32") void store_f32(volatile float *address, float value) { *address = value; }
EXPORT("store-f64") void store_f64(volatile double *address, double value) { *address = value; }
