/* SPDX-License-Identifier: Apache-2.0
 * PMSAv7. Slots are written four at a time through the RBAR/RASR aliases: every RBAR word carries VALID and its
 * own number. */
#include "arch.h"
#include "scs.h"

uint32_t arch_accept(struct context *c)
{
    if (c->ctrl != 0 && c->ctrl != CTRL_PRIVDEFENA && c->ctrl != (CTRL_ENABLE | CTRL_PRIVDEFENA))
        return 1; /* HFNMIENA risks a lockup; without PRIVDEFENA the map would have to hold the agent */
    if (c->level > 3)
        return 2;
    for (uint32_t i = 0; i < c->slots; i++) {
        uint32_t low = c->map[2 * i] & 0x1F;
        if (low != 0 && low != (RBAR_VALID | i))
            return 3 + i; /* would select another region */
        c->map[2 * i] |= RBAR_VALID | i;
    }
    for (uint32_t i = c->slots; i & 3; i++) { /* the last group of four writes its last slot again */
        c->map[2 * i] = c->map[2 * i - 2];
        c->map[2 * i + 1] = c->map[2 * i - 1];
    }
    return 0;
}

void arch_unprotect(void)
{
    if (MPU_CTRL) {
        MPU_CTRL = 0;
        barrier();
    }
}

void arch_rearm(const struct context *c, uint32_t disarm)
{
    __asm__ volatile("dsb" ::: "memory");
    if (disarm != DISARM_MAP)
        MPU_CTRL = c->ctrl;
    barrier();
}

void arch_protect(const struct context *c, uint32_t disarm)
{
    arch_unprotect();
    for (uint32_t i = 0; i < c->slots; i += 4) {
        __asm__ volatile("ldm %1, {r0-r5, r8, r9}\nstm %0, {r0-r5, r8, r9}"
                         :
                         : "r"(&MPU_RBAR), "r"(c->map + 2 * i)
                         : "r0", "r1", "r2", "r3", "r4", "r5", "r8", "r9", "memory");
    }
    arch_rearm(c, disarm);
}

uint32_t arch_checksum(void)
{
    uint32_t h = MPU_CTRL;
    for (uint32_t i = 0; i < facts.regions; i++) {
        MPU_RNR = i;
        h = (h << 5 | h >> 27) ^ (MPU_RBAR & ~0x1Fu);
        h = (h << 5 | h >> 27) ^ MPU_RASR;
    }
    return h;
}

uint32_t arch_readback(uint32_t *words)
{
    words[0] = MPU_TYPE;
    words[1] = MPU_CTRL;
    uint32_t n = facts.regions < MAX_SLOTS ? facts.regions : MAX_SLOTS;
    for (uint32_t i = 0; i < n; i++) {
        MPU_RNR = i;
        words[2 + 2 * i] = MPU_RBAR;
        words[3 + 2 * i] = MPU_RASR;
    }
    return 2 + 2 * n;
}
