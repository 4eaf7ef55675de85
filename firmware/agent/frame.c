/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "carrier.h"

enum {
    HEADER = 4,
    CRC = 4,
    FRAME_MAX = HEADER + PAYLOAD_MAX + CRC,
    RAW_MAX = FRAME_MAX + FRAME_MAX / 254 + 1,
    BLOCK = 254 /* longest run COBS puts behind one code byte */
};

static struct receiver {
    _Alignas(4) uint8_t bytes[RAW_MAX];
    uint32_t count;
    bool oversize;
} receivers[CARRIERS];

static enum carrier carrier;
static bool chosen; /* the first valid HELLO decides the carrier */
static uint16_t answering;

static const uint32_t nibble[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                    0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                    0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
static uint32_t table[256]; /* made from `nibble` when first needed: two steps per byte become one */

static uint32_t crc32(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            c = c >> 4 ^ nibble[c & 15];
            table[i] = c >> 4 ^ nibble[c & 15];
        }
    for (uint32_t i = 0; i < count; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xFF];
    return crc;
}

/* Sending: the block since the last zero waits here until its code byte is known. */
static struct {
    uint8_t bytes[BLOCK];
    uint32_t count;
} block;

static void end_block(void)
{
    carrier_put(carrier, (uint8_t)(block.count + 1));
    for (uint32_t i = 0; i < block.count; i++)
        carrier_put(carrier, block.bytes[i]);
    block.count = 0;
}

static void put(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i])
            block.bytes[block.count++] = bytes[i];
        if (!bytes[i] || block.count == BLOCK)
            end_block();
    }
}

static uint32_t put_checked(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    put(bytes, count);
    return crc32(crc, bytes, count);
}

void frame_send(uint8_t type, const void *payload, uint32_t length)
{
    const uint8_t header[HEADER] = {type, 0, (uint8_t)answering, (uint8_t)(answering >> 8)};
    uint32_t crc = put_checked(0xFFFFFFFF, header, HEADER);
    crc = ~put_checked(crc, payload, length);
    const uint8_t tail[CRC] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
    put(tail, CRC);
    end_block();
    carrier_put(carrier, 0);
    carrier_flush(carrier);
}

static void send_error(uint16_t code, uint32_t detail)
{
    uint32_t words[2] = {code, detail};
    frame_send(FRAME_ERROR, words, sizeof words);
}

/* Decode in place (the result is never longer). Returns its length, or 0 when the bytes are no frame. */
static uint32_t decode(uint8_t *bytes, uint32_t count)
{
    uint32_t from = 0, to = 0;
    while (from < count) {
        uint32_t code = bytes[from++]; /* never 0: zeros end frames */
        if (from + code - 1 > count)
            return 0;
        for (uint32_t i = 1; i < code; i++)
            bytes[to++] = bytes[from++];
        if (code != BLOCK + 1 && from < count)
            bytes[to++] = 0;
    }
    if (to < HEADER + CRC)
        return 0;
    uint32_t crc = ~crc32(0xFFFFFFFF, bytes, to - CRC);
    for (uint32_t i = 0; i < CRC; i++)
        if (bytes[to - CRC + i] != (uint8_t)(crc >> 8 * i))
            return 0;
    return to - CRC;
}

/* A zero arrived: is what came before it a frame that counts? */
static bool complete(struct receiver *r, enum carrier from, struct frame *frame)
{
    uint32_t raw = r->count, length = 0;
    bool oversize = r->oversize;
    r->count = 0;
    r->oversize = false;
    if (!oversize && raw)
        length = decode(r->bytes, raw);
    if (!length) {
        if (chosen && (raw || oversize))
            send_error(oversize ? ERROR_OVERSIZE : ERROR_CRC, raw);
        return false;
    }
    frame->type = r->bytes[0];
    frame->seq = (uint16_t)(r->bytes[2] | r->bytes[3] << 8);
    frame->payload = r->bytes + HEADER;
    frame->length = length - HEADER;
    if (!chosen && frame->type != FRAME_HELLO)
        return false;
    chosen = true;
    carrier = from;
    answering = frame->seq;
    return true;
}

struct frame frame_receive(void)
{
    struct frame frame;
    for (;;)
        for (enum carrier c = 0; c < CARRIERS; c++) {
            if (chosen && c != carrier)
                continue;
            struct receiver *r = &receivers[c];
            int byte;
            while ((byte = carrier_get(c)) >= 0) {
                if (byte == 0) {
                    if (complete(r, c, &frame))
                        return frame;
                } else if (r->count < RAW_MAX) {
                    r->bytes[r->count++] = (uint8_t)byte;
                } else {
                    r->oversize = true;
                }
            }
        }
}
