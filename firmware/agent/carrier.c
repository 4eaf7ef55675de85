/* SPDX-License-Identifier: Apache-2.0
 * The ring: free running byte counters in the mailbox, own positions here (0x7F00 does not divide 2^32). */
#include "carrier.h"

static struct {
    uint32_t in_at, in_count, out_at, out_count;
} ring;

void carrier_init(void)
{
    rig_mailbox.in_tail = rig_mailbox.out_head = 0;
    rig_mailbox.in_head = rig_mailbox.out_tail = 0;
    uart_init();
}

static int ring_get(void)
{
    if (rig_mailbox.in_head == ring.in_count)
        return -1;
    uint8_t byte = rig_mailbox.in[ring.in_at];
    ring.in_at = ring.in_at + 1 == RING_IN ? 0 : ring.in_at + 1;
    rig_mailbox.in_tail = ++ring.in_count;
    return byte;
}

static void ring_put(uint8_t byte)
{
    while (ring.out_count - rig_mailbox.out_tail >= RING_OUT)
        rig_mailbox.out_head = ring.out_count; /* full: show what is there and wait for the host */
    rig_mailbox.out[ring.out_at] = byte;
    ring.out_at = (ring.out_at + 1) % RING_OUT;
    ring.out_count++;
}

int carrier_get(enum carrier carrier)
{
    return carrier == CARRIER_RING ? ring_get() : uart_get();
}

void carrier_put(enum carrier carrier, uint8_t byte)
{
    if (carrier == CARRIER_RING)
        ring_put(byte);
    else
        uart_put(byte);
}

void carrier_flush(enum carrier carrier)
{
    if (carrier == CARRIER_RING)
        rig_mailbox.out_head = ring.out_count;
}
