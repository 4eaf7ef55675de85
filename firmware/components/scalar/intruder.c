// SPDX-License-Identifier: Apache-2.0
#include "../common/access32.h"

__attribute__((import_module("rig:scalar/sensor"), import_name("read"))) int sensor_read(void);

// A word of its own to be protected, and a seam.
static volatile int seen = 0x1D1D1D1D;

EXPORT("relay") int relay(void) {
    seen = sensor_read();
    return seen;
}
