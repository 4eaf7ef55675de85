/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RIG_CSR_H
#define RIG_CSR_H

#include <stdint.h>

#define csr_read(name)                                         \
    ({                                                         \
        uint32_t value_;                                       \
        __asm__ volatile("csrr %0, " #name : "=r"(value_));    \
        value_;                                                \
    })
#define csr_write(name, value) __asm__ volatile("csrw " #name ", %0" ::"r"((uint32_t)(value)) : "memory")

enum {
    MSTATUS_MPIE = 1 << 7,
    MSTATUS_MPP_SHIFT = 11,
    MSTATUS_FS_INITIAL = 1 << 13,
    MIE_MTIE = 1 << 7,
    MODE_U = 0,
    MODE_M = 3,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_M = 11,
    CAUSE_FETCH_ACCESS = 1
};
#define CAUSE_TIMER 0x80000007u

#endif
