// SPDX-License-Identifier: Apache-2.0
#include "../common/access32.h"

__attribute__((import_module("rig:lists/log"), import_name("push"))) unsigned log_push(unsigned address,
                                                                                      unsigned length);
__attribute__((import_module("rig:lists/log"), import_name("total"))) unsigned log_total(void);

// A word of its own to be protected, and two seams.
static volatile unsigned seen = 0x1D1D1D1D;

EXPORT("push-raw") unsigned push_raw(unsigned address, unsigned length) { return log_push(address, length); }

EXPORT("relay") unsigned relay(void) {
    seen = log_total();
    return seen;
}
