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

static void fence(void)
{
    __asm__ volatile("" ::: "memory"); /* the host is another observer of the same memory, in program order */
}

static bool ring_read(uint8_t *to, uint32_t *count, uint32_t room)
{
    uint32_t waiting = rig_mailbox.in_head - ring.in_count, taken = 0;
    fence();
    const uint8_t *from = (const uint8_t *)rig_mailbox.in;
    uint8_t *at = to + *count, *end = to + room;
    bool stop = false;
    while (taken < waiting && !stop) {
        uint8_t byte = from[ring.in_at];
        ring.in_at = ring.in_at + 1 == RING_IN ? 0 : ring.in_at + 1;
        taken++;
        if (byte)
            *at++ = byte;
        stop = !byte || at == end;
    }
    *count = (uint32_t)(at - to);
    fence();
    if (taken)
        rig_mailbox.in_tail = ring.in_count += taken;
    return stop;
}

static void ring_write(const uint8_t *bytes, uint32_t count)
{
    uint8_t *to = (uint8_t *)rig_mailbox.out;
    for (uint32_t done = 0; done < count;) {
        uint32_t room, piece = count - done;
        while ((room = RING_OUT - (ring.out_count - rig_mailbox.out_tail)) == 0)
            ;
        piece = piece < room ? piece : room;
        piece = piece < RING_OUT - ring.out_at ? piece : RING_OUT - ring.out_at;
        piece &= ~3u; /* the host takes any number of bytes */
        if (!piece)
            continue;
        copy_words(to + ring.out_at, bytes + done, piece);
        ring.out_at = (ring.out_at + piece) % RING_OUT;
        fence();
        rig_mailbox.out_head = ring.out_count += piece;
        done += piece;
    }
}

static bool uart_read(uint8_t *to, uint32_t *count, uint32_t room)
{
    int byte;
    while ((byte = uart_get()) >= 0) {
        if (byte == 0)
            return true;
        to[(*count)++] = (uint8_t)byte;
        if (*count == room)
            return true;
    }
    return false;
}

bool carrier_read(enum carrier carrier, uint8_t *to, uint32_t *count, uint32_t room)
{
    return carrier == CARRIER_RING ? ring_read(to, count, room) : uart_read(to, count, room);
}

void carrier_write(enum carrier carrier, const uint8_t *bytes, uint32_t count)
{
    if (carrier == CARRIER_RING)
        ring_write(bytes, count);
    else
        for (uint32_t i = 0; i < count; i++)
            uart_put(bytes[i]);
}
