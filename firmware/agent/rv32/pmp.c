/* SPDX-License-Identifier: Apache-2.0
 * PMP. context->map holds the cfg words, then the addresses. */
#include "arch.h"
#include "csr.h"

bool rig_guard_mseccfg(uint32_t *value);
bool rig_pmpaddr_write(const uint32_t *words, uint32_t count);
bool rig_pmpaddr_read(uint32_t *words, uint32_t count);

enum { CFG_WORDS = MAX_SLOTS / 4, MSECCFG_RLB = 4 };
#define LOCKS 0x80808080u
#define EVERYTHING 0x1FFFFFFFu /* NAPOT over 4 GiB */
#define NAPOT_RWX 0x1Fu

static bool has_mseccfg;

static struct { /* what the entries hold, as far as the agent wrote it */
    uint32_t map[CFG_WORDS + MAX_SLOTS];
    uint32_t slots; /* 0: unknown */
} live;

static uint32_t mseccfg(void)
{
    uint32_t value = 0;
    if (has_mseccfg)
        rig_guard_mseccfg(&value);
    return value;
}

static uint32_t cfg_get(uint32_t i)
{
    switch (i) {
    case 0:
        return csr_read(pmpcfg0);
    case 1:
        return csr_read(pmpcfg1);
    case 2:
        return csr_read(pmpcfg2);
    default:
        return csr_read(pmpcfg3);
    }
}

static void cfg_set(uint32_t i, uint32_t value)
{
    switch (i) {
    case 0:
        csr_write(pmpcfg0, value);
        break;
    case 1:
        csr_write(pmpcfg1, value);
        break;
    case 2:
        csr_write(pmpcfg2, value);
        break;
    default:
        csr_write(pmpcfg3, value);
    }
}

/* Entries and grain as the hardware has them; leaves everything off. */
void pmp_probe(void)
{
    uint32_t words[MAX_SLOTS], value;
    has_mseccfg = rig_guard_mseccfg(&value);
    facts.regions = 0;
    for (uint32_t i = 0; i < MAX_SLOTS; i++)
        words[i] = 0xFFFFFFFF;
    for (uint32_t n = 1; n <= MAX_SLOTS && rig_pmpaddr_write(words, n); n++) {
        uint32_t back[MAX_SLOTS];
        if (!rig_pmpaddr_read(back, n) || back[n - 1] == 0)
            break;
        facts.regions = n;
        facts.grain = 0;
        while (facts.grain < 30 && !(back[0] >> facts.grain & 1))
            facts.grain++;
    }
    zero_words(words, sizeof words);
    for (uint32_t i = 0; 4 * i < facts.regions; i++)
        cfg_set(i, 0);
    rig_pmpaddr_write(words, facts.regions);
}

uint32_t arch_accept(struct context *c)
{
    if (c->ctrl & ~(has_mseccfg ? (uint32_t)MSECCFG_RLB : 0))
        return 1; /* MML and MMWP would bind the agent, for good */
    if (c->level != MODE_U && c->level != MODE_M)
        return 2;
    uint32_t words = (c->slots + 3u) / 4;
    for (uint32_t i = 0; i < words; i++)
        if (c->map[i] & LOCKS)
            return 3 + i;
    return 0;
}

static uint32_t covered(const struct context *c, uint32_t word) /* bytes of a cfg word that are this map's */
{
    uint32_t left = c->slots - 4 * word;
    return left >= 4 ? 0xFFFFFFFF : (1u << 8 * left) - 1;
}

void arch_forget_map(void)
{
    live.slots = 0;
}

static bool is_live(const struct context *c)
{
    bool same = c->slots == live.slots;
    for (uint32_t i = 0; same && i < MAP_WORDS(c->slots); i++)
        same = c->map[i] == live.map[i];
    return same;
}

static void write_map(const struct context *c)
{
    uint32_t words = (c->slots + 3u) / 4;
    for (uint32_t i = 0; i < words; i++) /* off before an address changes */
        cfg_set(i, cfg_get(i) & ~covered(c, i));
    rig_pmpaddr_write(c->map + words, c->slots);
    if (has_mseccfg)
        __asm__ volatile("csrw 0x747, %0" ::"r"(c->ctrl) : "memory");
    for (uint32_t i = 0; i < words; i++)
        cfg_set(i, (cfg_get(i) & ~covered(c, i)) | c->map[i]);
    copy_words(live.map, c->map, 4 * MAP_WORDS(c->slots));
    live.slots = c->slots;
}

void arch_protect(const struct context *c, uint32_t disarm, enum how_much how_much)
{
    if (how_much == WHOLE_MAP || !is_live(c))
        write_map(c);
    if (disarm == DISARM_MAP) {
        csr_write(pmpaddr0, EVERYTHING);
        cfg_set(0, (cfg_get(0) & ~0xFFu) | NAPOT_RWX);
        arch_forget_map();
    }
}

void arch_rearm(const struct context *c, uint32_t disarm)
{
    (void)c; /* nothing was taken away: without lock bits PMP does not bind the agent */
    (void)disarm;
}

void arch_unprotect(void)
{
}

uint32_t arch_checksum(void)
{
    uint32_t addresses[MAX_SLOTS], n = facts.regions, h = mseccfg();
    rig_pmpaddr_read(addresses, n);
    for (uint32_t i = 0; 4 * i < n; i++)
        h = (h << 5 | h >> 27) ^ cfg_get(i);
    for (uint32_t i = 0; i < n; i++)
        h = (h << 5 | h >> 27) ^ addresses[i];
    return h;
}

uint32_t arch_readback(uint32_t *words)
{
    uint32_t n = facts.regions, cfgs = (n + 3) / 4;
    words[0] = mseccfg();
    words[1] = n;
    for (uint32_t i = 0; i < cfgs; i++)
        words[2 + i] = cfg_get(i);
    rig_pmpaddr_read(words + 2 + cfgs, n);
    return 2 + cfgs + n;
}
