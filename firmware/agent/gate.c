/* SPDX-License-Identifier: Apache-2.0
 * The only way from one owner to another. A component can jump to any gate stub with anything in its registers,
 * so only two things count: the context that runs now, and the seams of the plan. */
#include "run.h"

static struct call {
    struct actor actor; /* the caller as it stopped */
    uint32_t live_sp;   /* of the caller's context, before this call */
    uint8_t context, caller, seam;
} calls[MAX_DEPTH];
static uint32_t depth;

static bool refuse(uint32_t code, uint32_t seam)
{
    return on_stop(GATE_REFUSED, code | seam << 8);
}

/* 0, or why the list (pointer, length) does not lie in the caller's span. All in 64 bits. */
static uint32_t check_list(const struct check *c, uint32_t pointer, uint32_t length)
{
    if (pointer > c->high || (length && pointer < c->low))
        return BAD_POINTER;
    if (pointer + (uint64_t)length * c->element_size > c->high)
        return BAD_EXTENT;
    return 0;
}

bool on_call(uint32_t index)
{
    const struct seam *s = index < MAX_SEAMS ? &plan.seams[index] : NULL;
    if (!s || !s->used)
        return refuse(NO_SEAM, index);
    if (s->caller != now.context)
        return refuse(WRONG_CALLER, index);
    if (depth == MAX_DEPTH)
        return refuse(TOO_DEEP, index);
    struct context *caller = &plan.contexts[s->caller], *callee = &plan.contexts[s->callee];
    struct extent stack = arch_extent();
    if (stack.low < caller->stack_low || !inside(stack.args, 4u * s->stack_words, stack.low, caller->stack_end))
        return refuse(BAD_STACK, index);

    arch_unprotect();
    uint32_t words[MAX_WORDS];
    uint32_t count = (uint32_t)s->reg_words + s->stack_words;
    for (uint32_t i = 0; i < count; i++)
        words[i] = i < s->reg_words ? arch_word(i) : ((const uint32_t *)stack.args)[i - s->reg_words];
    if (now.disarm != DISARM_GATE)
        for (uint32_t i = 0; i < s->checks; i++) {
            const struct check *c = &plan.checks[s->first_check + i];
            uint32_t length = c->length == ONE_ELEMENT ? 1 : words[c->length];
            uint32_t why = check_list(c, words[c->pointer], length);
            if (why)
                return refuse(why, index);
        }
#ifndef RIG_MUTANT_M23
    if (s->instance_first)
        words[0] = callee->instance;
#endif

    struct call *call = &calls[depth];
    copy_words(&call->actor, &rig_actor, sizeof rig_actor);
    call->live_sp = caller->live_sp;
    call->context = now.context;
    call->caller = now.caller;
    call->seam = (uint8_t)index;
    caller->live_sp = stack.low & ~(STACK_ALIGN - 1u);
    depth++;

    uint32_t on_stack = (4u * s->stack_words + STACK_ALIGN - 1) & ~(STACK_ALIGN - 1u);
    if (callee->live_sp < callee->stack_low || callee->live_sp - callee->stack_low < on_stack)
        return refuse(TOO_DEEP, index);
    uint32_t sp = callee->live_sp - on_stack;
    for (uint32_t i = s->reg_words; i < count; i++)
        ((uint32_t *)sp)[i - s->reg_words] = words[i];
    if (!arch_begin(callee, sp, s->target, words, s->reg_words, NULL, 0))
        return refuse(TOO_DEEP, index);
    now.caller = now.context;
    context_in(callee, WHOLE_MAP);
    return true;
}

bool on_return(void)
{
    if (depth == 0)
        return on_stop(RETURNED, 0);
    const struct call *call = &calls[--depth];
    struct context *caller = &plan.contexts[call->context];
    arch_unprotect();
    arch_resume(&call->actor, plan.seams[call->seam].result_words);
    caller->live_sp = call->live_sp;
    now.caller = call->caller;
    context_in(caller, WHOLE_MAP);
    return true;
}

void gate_unwind(void)
{
    while (depth) {
        depth--;
        plan.contexts[calls[depth].context].live_sp = calls[depth].live_sp;
    }
}

bool on_service(uint32_t number)
{
    return on_stop(SVC_REJECTED, number);
}
