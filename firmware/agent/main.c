/* SPDX-License-Identifier: Apache-2.0
 * Start-up common to all boards, and the loop that serves the host. */
#include "arch.h"
#include "carrier.h"
#include "frame.h"
#include "plan.h"
#include "run.h"

extern const uint8_t rig_build_id[20];

struct hello {
    uint16_t protocol, arch;
    uint8_t build_id[20];
    uint32_t regions, grain, boots, mpu_type, features, nonce[2];
};
_Static_assert(sizeof(struct hello) == 52, "HELLO");

static void acknowledge(uint8_t type, struct answer answer)
{
    uint32_t words[2] = {type | answer.status << 8, answer.detail};
    frame_send(FRAME_ACK, words, sizeof words);
}

static void hello(const struct frame *f)
{
    if (f->length != 8) {
        acknowledge(f->type, (struct answer){BAD_LENGTH, f->length});
        return;
    }
    struct hello h = {.protocol = PROTOCOL, .arch = ARCH_ID};
    copy_bytes(h.build_id, rig_build_id, sizeof h.build_id);
    h.regions = facts.regions;
    h.grain = facts.grain;
    h.boots = rig_mailbox.boots;
    h.mpu_type = facts.mpu_type;
    h.features = facts.features;
    copy_bytes(h.nonce, f->payload, sizeof h.nonce);
    frame_send(FRAME_HELLO_REPLY, &h, sizeof h);
}

static void batch(const struct frame *f)
{
    static struct program_parts parts;
    const uint8_t *at = f->payload + 4, *end = f->payload + f->length;
    uint32_t count = f->length >= 4 ? (uint32_t)(f->payload[0] | f->payload[1] << 8) : 0, done = 0, ticks = 0;
    for (; done < count && program_next(&at, end, &parts); done++) {
        program_run(&parts);
        ticks += now.ticks;
    }
    rig_mailbox.running = 0xFFFFFFFF;
    results_flush();
    if (done != count || at != end || f->length < 4) {
        uint32_t words[2] = {ERROR_BATCH, done};
        frame_send(FRAME_ERROR, words, sizeof words);
    }
    uint32_t words[2] = {done, ticks};
    frame_send(FRAME_BATCH_DONE, words, sizeof words);
}

struct memory {
    uint32_t address;
    uint16_t length, zero;
    uint8_t bytes[];
};

static void read_memory(const struct frame *f)
{
    static union {
        struct memory head;
        uint8_t bytes[PAYLOAD_MAX];
    } reply;
    uint32_t address, length;
    if (f->length != 8 || (length = f->payload[4] | f->payload[5] << 8) > PAYLOAD_MAX - sizeof(struct memory)) {
        acknowledge(f->type, (struct answer){BAD_LENGTH, f->length});
        return;
    }
    copy_words(&address, f->payload, 4);
    reply.head.address = address;
    reply.head.length = (uint16_t)length;
    if (!arch_read(reply.head.bytes, address, length)) {
        acknowledge(f->type, (struct answer){BAD_VALUE, address});
        return;
    }
    frame_send(FRAME_MEMORY, &reply, sizeof(struct memory) + length);
}

static void serve(const struct frame *f)
{
    switch (f->type) {
    case FRAME_HELLO:
        hello(f);
        break;
    case FRAME_BATCH:
        batch(f);
        break;
    case FRAME_READ:
        read_memory(f);
        break;
    default:
        acknowledge(f->type, plan_frame(f->type, f->payload, f->length));
    }
}

_Noreturn void panic(uint32_t code, uint32_t detail)
{
    rig_mailbox.panic_code = code;
    rig_mailbox.panic_detail = detail;
    rig_mailbox.state = STATE_PANIC;
    uint32_t words[2] = {0x100 + code, detail};
    frame_send(FRAME_ERROR, words, sizeof words);
    arch_halt();
}

/* Entered by the architecture's reset code with a stack and zeroed RAM. */
_Noreturn void agent_main(void)
{
    uint32_t boots = rig_mailbox.magic == MAILBOX_MAGIC ? rig_mailbox.boots : 0;
    rig_mailbox.magic = 0; /* the ring is not ready */
    rig_mailbox.state = STATE_BOOTING;
    rig_mailbox.version = PROTOCOL;
    rig_mailbox.boots = boots + 1;
    rig_mailbox.running = 0xFFFFFFFF;
    rig_mailbox.panic_code = rig_mailbox.panic_detail = 0;
    arch_init();
    carrier_init();
    rig_mailbox.magic = MAILBOX_MAGIC;
    for (;;) {
        rig_mailbox.state = STATE_IDLE;
        struct frame f = frame_receive();
        rig_mailbox.state = STATE_BUSY;
        serve(&f);
    }
}
