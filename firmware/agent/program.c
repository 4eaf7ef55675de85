/* SPDX-License-Identifier: Apache-2.0
 * Programs as they come over the wire: nothing in them is trusted. */
#include "run.h"

static bool take(const uint8_t **at, const uint8_t *end, uint32_t bytes)
{
    if ((uint32_t)(end - *at) < bytes)
        return false;
    *at += bytes;
    return true;
}

const struct payload *payload_first(const struct program_parts *parts)
{
    return (const struct payload *)parts->payloads;
}

const struct payload *payload_next(const struct payload *payload)
{
    return (const struct payload *)(payload->data + ((payload->length + 3) & ~3u));
}

const struct payload *payload_behind(const struct payload *payload, uint32_t count)
{
    while (count--)
        payload = payload_next(payload);
    return payload;
}

static uint32_t check_steps(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    bool one = p->verb == SWEEP || p->verb == CALL, any = p->verb == RUN;
    if (one ? p->nsteps != 1 : any ? p->nsteps < 1 : p->nsteps != 0)
        return BAD_STEPS;
    for (uint32_t i = 0; i < p->nsteps; i++) {
        const struct step *s = parts->steps[i];
        if (!plan_context(s->context))
            return BAD_CONTEXT;
        if (s->nargs > MAX_ARGS || s->nfargs > (facts.features & FEATURE_FPU ? MAX_FARGS : 0))
            return BAD_ARGS;
    }
    return 0;
}

static uint32_t check_payloads(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    if (p->verb == SCAN) {
        if (p->npayloads != 1)
            return BAD_PAYLOAD;
        uint32_t length = payload_first(parts)->length;
        return length == 0 || length > MAX_NEEDLE ? BAD_PAYLOAD : 0;
    }
    if (p->npayloads && p->verb != CALL)
        return BAD_PAYLOAD;
    const struct payload *payload = payload_first(parts);
    for (uint32_t i = 0; i < p->npayloads; i++, payload = payload_next(payload)) {
        if (payload->into >= p->npayloads - i)
            return BAD_PAYLOAD;
        if (payload->into ? payload->pointer + 4u > payload_behind(payload, payload->into)->length
                          : payload->pointer >= parts->steps[0]->nargs)
            return BAD_PAYLOAD;
    }
    return 0;
}

static uint32_t check(const struct program_parts *parts)
{
    const struct program *p = parts->program;
    if (p->verb > SCAN)
        return BAD_VERB;
    if (p->leg > ARMED || p->disarm > DISARM_GATE || p->flags > 15)
        return BAD_ENUM;
    if (p->limit_us == 0 || p->limit_us > MAX_LIMIT_US)
        return BAD_LIMIT;
    if (p->watch_len > MAX_WATCH || (p->verb != FRESH && (p->flags & FLAG_PLANT) && p->watch_len < 2) ||
        (p->watch_len && (uint64_t)p->watch + p->watch_len > 0x100000000))
        return BAD_WATCH;
    if ((p->verb == SWEEP && (p->count == 0 || p->count > MAX_SWEEP)) ||
        (p->verb == SCAN && (uint64_t)p->first + p->count > 0x100000000))
        return BAD_COUNT;
    if (p->ret_bytes > MAX_RET_BYTES || p->ret_list < -1 ||
        (p->ret_list >= 0 && (p->ret_list + 8 > p->ret_bytes || p->ret_elem == 0 || p->ret_elem > MAX_RET_BYTES)))
        return BAD_PAYLOAD;
    uint32_t why = check_steps(parts);
    return why ? why : check_payloads(parts);
}

bool program_next(const uint8_t **at, const uint8_t *end, struct program_parts *parts)
{
    const struct program *p = parts->program = (const struct program *)*at;
    if (!take(at, end, sizeof *p) || p->nsteps > MAX_STEPS)
        return false;
    for (uint32_t i = 0; i < p->nsteps; i++) {
        const struct step *s = parts->steps[i] = (const struct step *)*at;
        if (!take(at, end, sizeof *s) || !take(at, end, 4u * ((uint32_t)s->nargs + s->nfargs)))
            return false;
    }
    parts->payloads = *at;
    for (uint32_t i = 0; i < p->npayloads; i++) {
        const struct payload *payload = (const struct payload *)*at;
        if (!take(at, end, sizeof *payload) || payload->length > PAYLOAD_MAX ||
            !take(at, end, (payload->length + 3) & ~3u))
            return false;
    }
    parts->bad = check(parts);
    return true;
}
