/* SPDX-License-Identifier: Apache-2.0
 * Layout of everything that crosses the wire (docs/internals.md, "Wire" and "Mailbox"). Little endian, aligned.
 */
#ifndef RIG_WIRE_H
#define RIG_WIRE_H

#include "agent.h"

enum { PROTOCOL = 1, PAYLOAD_MAX = 8192 };

enum {
    FRAME_HELLO = 0x01,
    FRAME_PLAN_CLEAR = 0x02,
    FRAME_CONTEXT = 0x03,
    FRAME_SEAM = 0x04,
    FRAME_SPAN = 0x05,
    FRAME_SEED = 0x06,
    FRAME_WINDOW = 0x07,
    FRAME_BATCH = 0x10,
    FRAME_READ = 0x11,
    FRAME_ACK = 0x80,
    FRAME_HELLO_REPLY = 0x81,
    FRAME_RESULTS = 0x90,
    FRAME_READBACK = 0x91,
    FRAME_BATCH_DONE = 0x92,
    FRAME_MEMORY = 0x93,
    FRAME_ERROR = 0x9F
};

/* ACK.status */
enum { OK = 0, BAD_LENGTH = 1, BAD_INDEX = 2, BAD_VALUE = 3, TABLE_FULL = 4, UNKNOWN_TYPE = 5 };

/* ERROR.code; 0x100 + n is the panic n */
enum { ERROR_CRC = 1, ERROR_OVERSIZE = 2, ERROR_BATCH = 3 };

enum verb { RUN, SWEEP, FRESH, CALL, SCAN };
enum leg { LEGAL, DISARMED, ARMED };
enum disarm { DISARM_NOTHING, DISARM_MAP, DISARM_PRIVILEGE, DISARM_GATE };
enum { FLAG_PLANT = 1, FLAG_CANARY = 1, FLAG_RESTORE = 2, FLAG_READBACK = 4, FLAG_FP = 8 };
enum outcome { RETURNED, TRAPPED, TIMEOUT, GATE_REFUSED, SVC_REJECTED, BAD_PROGRAM };

/* GATE_REFUSED detail, low byte */
enum refusal { NO_SEAM = 1, WRONG_CALLER = 2, BAD_POINTER = 3, BAD_EXTENT = 4, BAD_STACK = 5, TOO_DEEP = 6 };

/* BAD_PROGRAM detail */
enum {
    BAD_VERB = 1,
    BAD_ENUM = 2,    /* leg, disarm or a flag */
    BAD_CONTEXT = 3, /* no such context */
    BAD_ARGS = 4,    /* too many arguments, or no room for them */
    BAD_STEPS = 5,
    BAD_WATCH = 6,   /* too long, or cannot be read or written */
    BAD_COUNT = 7,   /* sweep or scan out of bounds */
    BAD_PAYLOAD = 8,
    BAD_LIMIT = 9
};

struct program {
    uint32_t index;
    uint8_t verb, leg, disarm, flags;
    uint32_t watch;
    uint16_t watch_len, nsteps;
    uint32_t focus, limit_us, first, count;
    int32_t stride;
    uint32_t realloc, data_base;
    uint16_t ret_bytes;
    int16_t ret_list;
    uint16_t ret_elem, npayloads;
};

struct step {
    uint8_t context, nargs, nfargs, zero;
    uint32_t entry;
    uint32_t words[]; /* nargs integer words, then nfargs floating-point words */
};

struct payload {
    uint16_t pointer, into; /* where its address goes: word `pointer` of the arguments (into 0), or byte `pointer` of the
                               payload that comes `into` payloads later (a list in a list) */
    uint16_t align, zero;
    uint32_t length;
    uint8_t data[]; /* padded to 4 */
};

struct result {
    uint32_t index;
    uint8_t outcome, leg, step, context;
    uint8_t caller, zero[3];
    uint32_t fault[8], regs[4], detail, live, ticks;
    uint16_t changed, changed_at;
    uint8_t before[16], after[16];
    uint32_t blob_len;
    uint8_t blob[];
};

enum { MAILBOX_MAGIC = 0x4D474952, RING_IN = 0x7F00, RING_OUT = 0x8000 };
enum { STATE_BOOTING, STATE_IDLE, STATE_BUSY, STATE_PANIC };

struct mailbox {
    uint32_t magic, version, running, boots;
    uint32_t in_head, in_tail;   /* host to agent: bytes ever written by the host, read by the agent */
    uint32_t out_head, out_tail; /* agent to host */
    uint32_t state, panic_code, panic_detail;
    uint8_t reserved[0x100 - 44];
    uint8_t in[RING_IN];
    uint8_t out[RING_OUT];
};

_Static_assert(sizeof(struct program) == 52, "program header");
_Static_assert(sizeof(struct result) == 112, "result header");
_Static_assert(sizeof(struct mailbox) == 0x10000, "mailbox");

extern volatile struct mailbox rig_mailbox;

#endif
