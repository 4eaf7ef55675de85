/* SPDX-License-Identifier: Apache-2.0
 * System control space of Armv7-M (DDI0403E.e B3.2, B3.5). */
#ifndef RIG_SCS_H
#define RIG_SCS_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

#define SYST_CSR REG(0xE000E010)
#define SYST_RVR REG(0xE000E014)
#define SYST_CVR REG(0xE000E018)
#define NVIC_ICER(n) REG(0xE000E180 + 4 * (n))
#define NVIC_ICPR(n) REG(0xE000E280 + 4 * (n))
#define ICSR REG(0xE000ED04)
#define VTOR REG(0xE000ED08)
#define CCR REG(0xE000ED14)
#define SHPR1 REG(0xE000ED18)
#define SHPR2 REG(0xE000ED1C)
#define SHPR3 REG(0xE000ED20)
#define SHCSR REG(0xE000ED24)
#define CFSR REG(0xE000ED28)
#define HFSR REG(0xE000ED2C)
#define MMFAR REG(0xE000ED34)
#define BFAR REG(0xE000ED38)
#define CPACR REG(0xE000ED88)
#define MPU_TYPE REG(0xE000ED90)
#define MPU_CTRL REG(0xE000ED94)
#define MPU_RNR REG(0xE000ED98)
#define MPU_RBAR REG(0xE000ED9C)
#define MPU_RASR REG(0xE000EDA0)
#define FPCCR REG(0xE000EF34)

enum {
    ICSR_PENDSTCLR = 1 << 25,
    ICSR_PENDSVCLR = 1 << 27,
    CCR_STKALIGN = 1 << 9,
    SHCSR_ENABLES = 7 << 16,
    CFSR_MSTKERR = 1 << 4,
    CFSR_MUNSTKERR = 1 << 3,
    CFSR_MMARVALID = 1 << 7,
    CFSR_UNSTKERR = 1 << 11,
    CFSR_STKERR = 1 << 12,
    CFSR_BFARVALID = 1 << 15,
    HFSR_FORCED = 1 << 30,
    CTRL_ENABLE = 1,
    CTRL_PRIVDEFENA = 4,
    RBAR_VALID = 1 << 4,
    SYST_ENABLE = 1,
    SYST_TICKINT = 2,
    SYST_CLKSOURCE = 4,
    SYST_COUNTFLAG = 1 << 16,
    SYST_MAX = 0xFFFFFF
};

static inline void barrier(void)
{
    __asm__ volatile("dsb\nisb" ::: "memory");
}

#endif
