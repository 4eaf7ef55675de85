/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "arch.h"

struct plan plan;

static const struct answer fine = {OK, 0};

static struct answer bad(uint32_t status, uint32_t detail)
{
    return (struct answer){status, detail};
}

struct context *plan_context(uint32_t id)
{
    return id < MAX_CONTEXTS && plan.contexts[id].used ? &plan.contexts[id] : NULL;
}

static void clear(void)
{
    for (uint32_t i = 0; i < MAX_CONTEXTS; i++)
        plan.contexts[i].used = false;
    for (uint32_t i = 0; i < MAX_SEAMS; i++)
        plan.seams[i].used = false;
    plan.check_count = plan.span_count = plan.seed_bytes = plan.window = plan.window_length = 0;
}

/* Anything the agent writes for the plan lies in the shared RAM and not in the mailbox. */
static bool writable(uint32_t address, uint32_t length)
{
    return in_shared_ram(address, length) &&
           inside(address, length, (uint32_t)&rig_mailbox + sizeof rig_mailbox, RIG_SHARED_END);
}

struct context_frame {
    uint8_t id, owner, slots, level;
    uint32_t ctrl, stack_low, sp, r9, r10, r11, instance, window_save, stack_end;
    uint32_t words[];
};

static struct answer add_context(const uint8_t *payload, uint32_t length)
{
    const struct context_frame *f = (const struct context_frame *)payload;
    if (length < sizeof *f || length != sizeof *f + 4 * MAP_WORDS(f->slots))
        return bad(BAD_LENGTH, length);
    if (f->id >= MAX_CONTEXTS || f->slots > MAX_SLOTS || f->slots > facts.regions)
        return bad(BAD_INDEX, f->id >= MAX_CONTEXTS ? f->id : f->slots);
    uint32_t align = STACK_ALIGN - 1;
    if (f->stack_low > f->sp || f->sp > f->stack_end || (f->sp & align) || (f->stack_low & 3) ||
        !writable(f->stack_low, f->stack_end - f->stack_low))
        return bad(BAD_VALUE, f->sp);
    if (f->window_save && ((f->window_save & 3) || !writable(f->window_save, plan.window_length)))
        return bad(BAD_VALUE, f->window_save);
    struct context *c = &plan.contexts[f->id];
    c->used = false;
    c->id = f->id;
    c->owner = f->owner;
    c->slots = f->slots;
    c->level = f->level;
    c->ctrl = f->ctrl;
    c->stack_low = f->stack_low;
    c->stack_end = f->stack_end;
    c->sp = c->live_sp = f->sp;
    c->r9 = f->r9;
    c->r10 = f->r10;
    c->r11 = f->r11;
    c->instance = f->instance;
    c->window_save = f->window_save;
    zero_words(c->map, sizeof c->map);
    copy_words(c->map, f->words, 4 * MAP_WORDS(f->slots));
    uint32_t refused = arch_accept(c);
    if (refused)
        return bad(BAD_VALUE, refused);
    c->used = true;
    return fine;
}

struct seam_frame {
    uint16_t index;
    uint8_t caller, callee;
    uint32_t target;
    uint8_t reg_words, stack_words, result_words, flags;
    uint8_t checks, zero[3];
    struct check list[];
};

static struct answer add_seam(const uint8_t *payload, uint32_t length)
{
    const struct seam_frame *f = (const struct seam_frame *)payload;
    if (length < sizeof *f || length != sizeof *f + f->checks * sizeof(struct check))
        return bad(BAD_LENGTH, length);
    if (f->index >= MAX_SEAMS || !plan_context(f->caller) || !plan_context(f->callee))
        return bad(BAD_INDEX, f->index);
    uint32_t words = (uint32_t)f->reg_words + f->stack_words;
    if (f->reg_words > ARG_REGISTERS || words > MAX_WORDS || f->result_words > 2 ||
        ((f->flags & 1) && f->reg_words == 0))
        return bad(BAD_VALUE, f->index);
    for (uint32_t i = 0; i < f->checks; i++)
        if (f->list[i].pointer >= words || (f->list[i].length >= words && f->list[i].length != ONE_ELEMENT))
            return bad(BAD_VALUE, f->index);
    if (plan.check_count + f->checks > MAX_CHECKS)
        return bad(TABLE_FULL, f->index);
    struct seam *s = &plan.seams[f->index];
    s->used = true;
    s->instance_first = f->flags & 1;
    s->caller = f->caller;
    s->callee = f->callee;
    s->reg_words = f->reg_words;
    s->stack_words = f->stack_words;
    s->result_words = f->result_words;
    s->checks = f->checks;
    s->first_check = (uint16_t)plan.check_count;
    s->target = f->target;
    copy_words(&plan.checks[plan.check_count], f->list, f->checks * sizeof(struct check));
    plan.check_count += f->checks;
    return fine;
}

static struct answer add_span(const uint8_t *payload, uint32_t length)
{
    const struct span *f = (const struct span *)payload;
    if (length != sizeof *f)
        return bad(BAD_LENGTH, length);
    if (f->kind > SPAN_CANARY || (f->address & 3) || (f->length & 3) || !writable(f->address, f->length) ||
        (f->kind == SPAN_CANARY && f->seed == 0))
        return bad(BAD_VALUE, f->address);
    if (plan.span_count == MAX_SPANS)
        return bad(TABLE_FULL, plan.span_count);
    copy_words(&plan.spans[plan.span_count++], f, sizeof *f);
    return fine;
}

struct seed_frame {
    uint32_t address;
    uint16_t length, zero;
    uint8_t bytes[];
};

static uint32_t padded(uint32_t bytes)
{
    return (bytes + 3) & ~3u;
}

static struct answer add_seed(const uint8_t *payload, uint32_t length)
{
    const struct seed_frame *f = (const struct seed_frame *)payload;
    if (length < sizeof *f || length != sizeof *f + f->length)
        return bad(BAD_LENGTH, length);
    if (!writable(f->address, f->length))
        return bad(BAD_VALUE, f->address);
    if (padded(length) > SEED_POOL - plan.seed_bytes)
        return bad(TABLE_FULL, plan.seed_bytes);
    copy_bytes(plan.seeds + plan.seed_bytes, payload, length);
    plan.seed_bytes += padded(length);
    return fine;
}

static struct answer set_window(const uint8_t *payload, uint32_t length)
{
    const uint32_t *f = (const uint32_t *)payload;
    if (length != 8)
        return bad(BAD_LENGTH, length);
    if ((f[0] & 3) || (f[1] & 3) || f[1] > MAX_WINDOW || !writable(f[0], f[1]))
        return bad(BAD_VALUE, f[0]);
    for (uint32_t i = 0; i < MAX_CONTEXTS; i++)
        if (plan.contexts[i].used)
            return bad(BAD_INDEX, i); /* contexts are checked against the window: it comes first */
    plan.window = f[0];
    plan.window_length = f[1];
    return fine;
}

struct answer plan_frame(uint8_t type, const uint8_t *payload, uint32_t length)
{
    switch (type) {
    case FRAME_PLAN_CLEAR:
        clear();
        return length ? bad(BAD_LENGTH, length) : fine;
    case FRAME_CONTEXT:
        return add_context(payload, length);
    case FRAME_SEAM:
        return add_seam(payload, length);
    case FRAME_SPAN:
        return add_span(payload, length);
    case FRAME_SEED:
        return add_seed(payload, length);
    case FRAME_WINDOW:
        return set_window(payload, length);
    default:
        return bad(UNKNOWN_TYPE, type);
    }
}

static void fill(const struct span *s)
{
    uint32_t *at = (uint32_t *)s->address, words = s->length / 4, x = s->seed;
    for (uint32_t i = 0; i < words; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        at[i] = x;
    }
}

/* From the image (image.c): native instance addresses, only where the lowering has instances. */
extern uint32_t rig_image_instances[] __attribute__((weak));
extern const uint32_t rig_image_owners;
void rig_image_reset(void);

void plan_fresh(bool canaries)
{
    for (uint32_t i = 0; i < plan.span_count; i++)
        if (plan.spans[i].kind == SPAN_ZERO)
            zero_words((void *)plan.spans[i].address, plan.spans[i].length);
    if (rig_image_instances)
        for (uint32_t i = 0; i < rig_image_owners && i < MAX_CONTEXTS; i++)
            rig_image_instances[i] = plan.contexts[i].used ? plan.contexts[i].instance : 0;
    rig_image_reset();
    for (uint32_t at = 0; at < plan.seed_bytes;) {
        const struct seed_frame *f = (const struct seed_frame *)(plan.seeds + at);
        copy_bytes((void *)f->address, f->bytes, f->length);
        at += padded(sizeof *f + f->length);
    }
    if (canaries)
        for (uint32_t i = 0; i < plan.span_count; i++)
            if (plan.spans[i].kind == SPAN_CANARY)
                fill(&plan.spans[i]);
}
