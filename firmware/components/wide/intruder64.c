// SPDX-License-Identifier: Apache-2.0
#include "../common/access64.h"

__attribute__((import_module("rig:wide/clock"), import_name("now"))) u64 clock_now(void);

// A word of its own to be protected, and a seam.
static volatile u64 seen = 0x1D1D1D1D1D1D1D1Dull;

EXPORT("relay") u64 relay(void) {
    seen = clock_now();
    return seen;
}
