/* SPDX-License-Identifier: Apache-2.0
 * Carrying out one program: watch, plant, enter, compare, restore, report. */
#include "run.h"

#include "frame.h"

struct now now;

static struct {
    _Alignas(4) uint8_t original[MAX_WATCH], start[MAX_WATCH], end[MAX_WATCH];
} watch;
static uint8_t blob[2 * (MAX_SWEEP / 8)];
static uint32_t blob_length;

_Static_assert(sizeof blob >= 2 * MAX_RET_BYTES, "a call's answer fits");

bool on_stop(enum outcome outcome, uint32_t detail)
{
    now.outcome = (uint8_t)outcome;
    now.detail = detail;
    arch_capture();
    return false;
}

/* One READBACK frame: the registers as they are with the context in. */
static struct {
    uint8_t context, leg;
    uint16_t count;
    uint32_t words[READBACK_WORDS];
} readback;

static void readback_take(void)
{
    readback.context = now.context;
    readback.leg = now.leg;
    readback.count = (uint16_t)arch_readback(readback.words);
}

static void readback_send(void)
{
    if (readback.count)
        frame_send(FRAME_READBACK, &readback, 4 + 4u * readback.count);
    readback.count = 0;
}

/* Enter `entry` unprivileged in `context` and stay until it is back, however it ended. False: did not fit. */
static bool enter(struct context *context, uint32_t entry, const uint32_t *words, uint32_t nargs, uint32_t nfargs,
                  uint32_t limit_us, bool report)
{
    uint32_t on_stack = nargs > ARG_REGISTERS ? 4 * (nargs - ARG_REGISTERS) : 0;
    on_stack = (on_stack + STACK_ALIGN - 1) & ~(STACK_ALIGN - 1u);
    if (context->sp - context->stack_low < on_stack)
        return false;
    uint32_t sp = context->sp - on_stack;
    uint32_t in_registers = nargs < ARG_REGISTERS ? nargs : ARG_REGISTERS;
    for (uint32_t i = in_registers; i < nargs; i++)
        ((uint32_t *)sp)[i - in_registers] = words[i];
    if (!arch_begin(context, sp, entry, words, in_registers, words + nargs, nfargs))
        return false;
    now.caller = NOBODY;
    context_in(context, WHAT_DIFFERS);
    if (report)
        readback_take();
    arch_timer_start(limit_us, now.verb == SWEEP && now.entries++ ? AT_LEAST : EXACTLY);
    arch_enter();
    now.ticks += arch_timer_stop();
    gate_unwind();
    context_out();
    return true;
}

static bool enter_step(const struct step *s, const uint32_t *words, const struct program *p, bool last)
{
    bool report = last && (p->flags & FLAG_READBACK);
    if (enter(plan_context(s->context), s->entry, words, s->nargs, s->nfargs, p->limit_us, report))
        return now.outcome == RETURNED;
    now.context = s->context;
    now.outcome = BAD_PROGRAM;
    now.detail = BAD_ARGS;
    return false;
}

static void run(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    for (uint32_t i = 0; i < p->nsteps; i++) {
        now.step = (uint8_t)i;
        if (!enter_step(parts->steps[i], parts->steps[i]->words, p, i + 1 == p->nsteps))
            return;
    }
}

static void set_bit(uint8_t *bits, uint32_t i)
{
    bits[i / 8] |= (uint8_t)(1u << i % 8);
}

/* Bitmaps: which arguments trapped, and for which a byte changed in the watched window (none given: in the 16
 * bytes around the argument). Each changed place is put back when the program says so. */
static void sweep(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    const struct step *s = parts->steps[0];
    uint32_t map = (p->count + 7) / 8, words[MAX_ARGS + MAX_FARGS], traps = 0, exact = 0, alike = 0, cause = 0;
    blob_length = 2 * map;
    for (uint32_t i = 0; i < blob_length; i++)
        blob[i] = 0;
    copy_words(words, s->words, 4u * ((uint32_t)s->nargs + s->nfargs));
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t at = p->first + i * (uint32_t)p->stride, length = p->watch_len;
        words[0] = at;
        uint32_t place = length ? p->watch : at & ~7u;
        length = length ? length : 16;
        bool seen = arch_read(watch.start, place, length);
        bool on = enter_step(s, words, p, i == 0);
        if (now.outcome == TRAPPED) {
            set_bit(blob, i);
            cause = traps++ ? cause : now.fault[0];
            exact += arch_fault_address() == at;
            alike += now.fault[0] == cause;
            on = true;
        }
        if (seen && arch_read(watch.end, place, length)) {
            bool differs = false;
            for (uint32_t k = 0; k < length; k++)
                differs |= watch.start[k] != watch.end[k];
            if (differs) {
                set_bit(blob + map, i);
                if (p->flags & FLAG_RESTORE)
                    arch_write(place, watch.start, length);
            }
        }
        if (!on)
            return; /* time-out, refusal, bad program: the sweep is not complete */
    }
    now.outcome = RETURNED;
    now.detail = traps;
    now.regs[0] = exact;
    now.regs[1] = alike;
    now.regs[2] = now.regs[3] = 0;
}

/* Take or place bytes of the callee's memory with the callee's own rights; a refusal shows as its trap. */
static bool as_callee(struct context *context, bool (*copy)(uint32_t, void *, uint32_t), uint32_t address, void *bytes,
                      uint32_t length)
{
    if (length == 0)
        return true;
    context_in(context, WHAT_DIFFERS);
    bool done = copy(address, bytes, length);
    if (!done)
        on_stop(TRAPPED, 0);
    context_out();
    return done;
}

static bool user_read(uint32_t address, void *bytes, uint32_t length)
{
    return arch_user_read(bytes, address, length);
}

static bool user_write(uint32_t address, void *bytes, uint32_t length)
{
    return arch_user_write(address, bytes, length);
}

/* cabi_realloc(0, 0, align, length) in the callee's context, with the instance in front where there is one. */
static bool allocate(struct context *context, const struct program *p, const struct payload *payload)
{
    uint32_t words[5], n = 0;
    if (context->instance)
        words[n++] = context->instance;
    words[n++] = 0;
    words[n++] = 0;
    words[n++] = payload->align;
    words[n++] = payload->length;
    if (enter(context, p->realloc, words, n, 0, p->limit_us, false))
        return now.outcome == RETURNED;
    now.outcome = BAD_PROGRAM;
    now.detail = BAD_ARGS;
    return false;
}

static uint32_t word_at(const uint8_t *bytes)
{
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* The return area, then the list it names. */
static bool fetch(struct context *context, const struct program *p)
{
    uint32_t regs[4];
    copy_words(regs, now.regs, sizeof regs);
    if (!as_callee(context, user_read, p->data_base + regs[0], blob, p->ret_bytes))
        return false;
    blob_length = p->ret_bytes;
    if (p->ret_list >= 0) {
        uint32_t pointer = word_at(blob + p->ret_list), length = word_at(blob + p->ret_list + 4);
        uint64_t bytes = (uint64_t)length * p->ret_elem;
        uint32_t some = bytes > MAX_RET_BYTES ? MAX_RET_BYTES : (uint32_t)bytes;
        if (!as_callee(context, user_read, p->data_base + pointer, blob + p->ret_bytes, some))
            return false;
        blob_length += some;
    }
    return true;
}

/* Where the payload lies, to whoever refers to it: an argument, or the bytes of a payload still to be written. */
static void hand_over(const struct payload *payload, uint32_t address, uint32_t *words)
{
    if (!payload->into) {
        words[payload->pointer] = address;
        return;
    }
    uint8_t *list = (uint8_t *)payload_behind(payload, payload->into)->data + payload->pointer;
    for (uint32_t i = 0; i < 4; i++)
        list[i] = (uint8_t)(address >> 8 * i);
}

static void call(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    const struct step *s = parts->steps[0];
    struct context *context = plan_context(s->context);
    uint32_t words[MAX_ARGS + MAX_FARGS];
    copy_words(words, s->words, 4u * ((uint32_t)s->nargs + s->nfargs));
    const struct payload *payload = payload_first(parts);
    for (uint32_t i = 0; i < p->npayloads; i++, payload = payload_next(payload)) {
        if (!allocate(context, p, payload))
            return;
        hand_over(payload, now.regs[0], words);
        if (!as_callee(context, user_write, p->data_base + now.regs[0], (void *)payload->data, payload->length))
            return;
    }
    now.step = 1; /* 0: lowering the arguments */
    if (enter_step(s, words, p, true) && p->ret_bytes)
        fetch(context, p);
}

static void scan(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    const struct payload *needle = payload_first(parts);
    uint8_t chunk[256 + MAX_NEEDLE];
    for (uint32_t done = 0; done < p->count; done += 256) {
        uint32_t left = p->count - done, fresh = left < 256 ? left : 256;
        uint32_t bytes = left < 256 + needle->length - 1 ? left : 256 + needle->length - 1;
        if (!arch_read(chunk, p->first + done, bytes)) {
            now.outcome = BAD_PROGRAM;
            now.detail = BAD_COUNT;
            return;
        }
        for (uint32_t i = 0; i < fresh && i + needle->length <= bytes; i++) {
            uint32_t k = 0;
            while (k < needle->length && chunk[i + k] == needle->data[k])
                k++;
            now.detail += k == needle->length;
        }
    }
}

static bool plant(const struct program *p)
{
    static const uint8_t code[2] = ARCH_RETURN_CODE;
    if (!arch_write(p->watch, code, sizeof code))
        return false;
    arch_sync_code();
    return true;
}

static void carry_out(const struct program_parts *parts)
{
    switch (parts->program->verb) {
    case RUN:
        run(parts);
        break;
    case SWEEP:
        sweep(parts);
        break;
    case FRESH:
        plan_fresh(parts->program->flags & FLAG_CANARY);
        break;
    case CALL:
        call(parts);
        break;
    default:
        scan(parts);
    }
}

static void compare(struct result *r, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (i % 4 == 0 && *(uint32_t *)(watch.start + i) == *(uint32_t *)(watch.end + i)) {
            i += 3;
            continue;
        }
        if (watch.start[i] != watch.end[i]) {
            if (!r->changed)
                r->changed_at = (uint16_t)i;
            r->changed++;
        }
    }
}

static void report(struct result *r)
{
    r->index = now.index;
    r->outcome = now.outcome;
    r->leg = now.leg;
    r->step = now.step;
    r->context = now.context;
    r->caller = now.caller;
    copy_words(r->fault, now.fault, sizeof r->fault);
    copy_words(r->regs, now.regs, sizeof r->regs);
    r->detail = now.detail;
    r->live = now.live;
    r->ticks = now.ticks;
}

static void begin(const struct program *p)
{
    zero_words(&now, sizeof now);
    now.index = p->index;
    now.verb = p->verb;
    now.leg = p->leg;
    now.disarm = p->disarm;
    now.flags = p->flags;
    now.context = now.caller = NOBODY;
    blob_length = 0;
    context_forget();
    rig_mailbox.running = p->index;
}

static void refuse(uint32_t why)
{
    now.outcome = BAD_PROGRAM;
    now.detail = why;
    struct result *r = result_open(0);
    report(r);
    result_close(r);
}

void program_run(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    bool watched = p->watch_len && p->verb != SWEEP && p->verb != FRESH;
    bool planted = (p->flags & FLAG_PLANT) && p->verb != FRESH;
    _Alignas(4) uint8_t before[16] = {0}, after[16] = {0};

    begin(p);
    if (parts->bad) {
        refuse(parts->bad);
        return;
    }
    if (p->focus)
        arch_read(before, p->focus, sizeof before);
    if ((watched || planted) && !arch_read(watch.original, p->watch, p->watch_len)) {
        refuse(BAD_WATCH);
        return;
    }
    if (planted && !plant(p)) {
        refuse(BAD_WATCH);
        return;
    }
    bool seen = watched && arch_read(watch.start, p->watch, p->watch_len);

    carry_out(parts);

    seen = seen && arch_read(watch.end, p->watch, p->watch_len);
    if (p->focus)
        arch_read(after, p->focus, sizeof after);
    if (planted || (watched && (p->flags & FLAG_RESTORE))) {
        arch_write(p->watch, watch.original, p->watch_len);
        if (planted)
            arch_sync_code();
    }
    if (now.privileged)
        arch_reassert();
    readback_send();
    struct result *r = result_open(blob_length);
    report(r);
    if (seen)
        compare(r, p->watch_len);
    copy_words(r->before, before, sizeof before);
    copy_words(r->after, after, sizeof after);
    copy_bytes(r->blob, blob, blob_length);
    result_close(r);
}
