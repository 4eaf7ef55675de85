/* SPDX-License-Identifier: Apache-2.0
 * Which context is in: its window contents and its map. */
#include "run.h"

static struct context *window_of; /* whose globals are in the window (RV32 synth); NULL: nobody's */

static void window_out(void)
{
    if (window_of && plan.window_length)
        copy_words((void *)window_of->window_save, (const void *)plan.window, plan.window_length);
    window_of = NULL;
}

static void window_in(struct context *context)
{
    if (!context->window_save || !plan.window_length)
        return;
    copy_words((void *)plan.window, (const void *)context->window_save, plan.window_length);
    window_of = context;
}

#ifdef RIG_MUTANT_M21
/* Seeded bug: "same context" is noted where a context trapped and believed whatever ran in between. */
static const struct context *same;

static bool believed_same(const struct context *context)
{
    return context == same && now.disarm != DISARM_MAP;
}
#endif

static const struct context *written; /* by this program, and nobody wrote another map since */

void context_forget(void)
{
    written = NULL;
}

void context_in(struct context *context, enum how_much how_much)
{
    window_out();
    window_in(context);
    now.context = context->id;
    now.privileged |= arch_set_level(context);
    bool known = how_much == WHAT_DIFFERS && written == context;
#ifdef RIG_MUTANT_M21
    known |= believed_same(context);
#endif
    if (known) {
        arch_rearm(context, now.disarm);
    } else {
        arch_protect(context, now.disarm, how_much);
        written = context;
    }
    if (!known || !now.entries)
        now.live = arch_checksum();
}

void context_out(void)
{
#ifdef RIG_MUTANT_M21
    if (now.outcome == TRAPPED)
        same = plan_context(now.context);
#endif
    arch_unprotect();
    window_out();
    if (now.privileged) {
        arch_forget_map();
        written = NULL;
    }
}
