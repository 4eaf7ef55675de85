/* SPDX-License-Identifier: Apache-2.0
 * Results collect in one frame until it is full. */
#include "frame.h"
#include "run.h"

static struct {
    uint16_t count, zero;
    _Alignas(4) uint8_t bytes[PAYLOAD_MAX - 4];
} frame;
_Static_assert(sizeof frame == PAYLOAD_MAX, "no padding");
static uint32_t used;

static uint32_t padded(uint32_t bytes)
{
    return (bytes + 3) & ~3u;
}

struct result *result_open(uint32_t blob)
{
    uint32_t size = sizeof(struct result) + padded(blob);
    if (size > sizeof frame.bytes - used)
        results_flush();
    struct result *r = (struct result *)(frame.bytes + used);
    zero_words(r, size);
    r->blob_len = blob;
    return r;
}

void result_close(struct result *r)
{
    frame.count++;
    used += sizeof *r + padded(r->blob_len);
}

void results_flush(void)
{
    if (frame.count)
        frame_send(FRAME_RESULTS, &frame, 4 + used);
    frame.count = 0;
    used = 0;
}
