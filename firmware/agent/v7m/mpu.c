/* SPDX-License-Identifier: Apache-2.0
 * PMSAv7. Slots are written four at a time through the RBAR/RASR aliases: every RBAR word carries VALID and its
 * own number. */
#include "arch.h"
#include "scs.h"

static struct { /* what the slots hold, as far as the agent wrote it */
    uint32_t map[2 * MAX_SLOTS];
    uint32_t known; /* slots, from 0 */
} live;

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
    MPU_CTRL = 0;
    barrier();
}

void arch_rearm(const struct context *c, uint32_t disarm)
{
    __asm__ volatile("dsb" ::: "memory");
    if (disarm != DISARM_MAP)
        MPU_CTRL = c->ctrl;
    barrier();
}

void arch_forget_map(void)
{
    live.known = 0;
}

static void write_all(const struct context *c)
{
    for (uint32_t i = 0; i < c->slots; i += 4)
        __asm__ volatile("ldm %1, {r0-r5, r8, r9}\nstm %0, {r0-r5, r8, r9}"
                         :
                         : "r"(&MPU_RBAR), "r"(c->map + 2 * i)
                         : "r0", "r1", "r2", "r3", "r4", "r5", "r8", "r9", "memory");
}

static void write_changed(const struct context *c)
{
    for (uint32_t i = 0; i < 2u * c->slots; i += 2)
        if (i >= 2 * live.known || c->map[i] != live.map[i] || c->map[i + 1] != live.map[i + 1]) {
            MPU_RBAR = c->map[i];
            MPU_RASR = c->map[i + 1];
        }
}

void arch_protect(const struct context *c, uint32_t disarm, enum how_much how_much)
{
    if (how_much == WHOLE_MAP)
        write_all(c);
    else
        write_changed(c);
    copy_words(live.map, c->map, 8u * c->slots);
    if (live.known < c->slots)
        live.known = c->slots;
    arch_rearm(c, disarm);
}

/* RBAR and RASR of a slot in one instruction: every access to the MPU costs an emulator dearly. */
static void read_slot(uint32_t i, uint32_t *rbar, uint32_t *rasr)
{
    MPU_RNR = i;
    __asm__ volatile("ldrd %0, %1, [%2]" : "=r"(*rbar), "=r"(*rasr) : "r"(&MPU_RBAR) : "memory");
}

uint32_t arch_checksum(void)
{
    uint32_t h = MPU_CTRL, rbar, rasr;
    for (uint32_t i = 0; i < facts.regions; i++) {
        read_slot(i, &rbar, &rasr);
        h = (h << 5 | h >> 27) ^ (rbar & ~0x1Fu);
        h = (h << 5 | h >> 27) ^ rasr;
    }
    return h;
}

uint32_t arch_readback(uint32_t *words)
{
    words[0] = MPU_TYPE;
    words[1] = MPU_CTRL;
    uint32_t n = facts.regions < MAX_SLOTS ? facts.regions : MAX_SLOTS;
    for (uint32_t i = 0; i < n; i++)
        read_slot(i, words + 2 + 2 * i, words + 3 + 2 * i);
    return 2 + 2 * n;
}
