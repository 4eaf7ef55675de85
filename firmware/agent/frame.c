/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "carrier.h"

enum {
    HEADER = 4,
    CRC = 4,
    BLOCK = 254, /* longest run that COBS puts behind one code byte */
    FRAME_MAX = HEADER + PAYLOAD_MAX + CRC,
    RAW_MAX = FRAME_MAX + FRAME_MAX / BLOCK + 1
};

static struct receiver {
    _Alignas(4) uint8_t bytes[RAW_MAX + 3];
    uint32_t count;
    bool oversize;
} receivers[CARRIERS];

static enum carrier carrier;
static bool chosen; /* the first valid HELLO decides the carrier */
static uint16_t answering;

/* CRC-32 (zlib), four bytes at a time. */

static uint32_t tables[4][256];

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (uint32_t bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (0xEDB88320 & -(c & 1));
        tables[0][i] = c;
    }
    for (uint32_t t = 1; t < 4; t++)
        for (uint32_t i = 0; i < 256; i++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xFF];
}

/* `bytes` aligned to 4 */
static uint32_t crc32(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    if (!tables[0][1])
        make_tables();
    for (; count >= 4; count -= 4, bytes += 4) {
        crc ^= *(const uint32_t *)bytes;
        crc = tables[3][crc & 0xFF] ^ tables[2][crc >> 8 & 0xFF] ^ tables[1][crc >> 16 & 0xFF] ^ tables[0][crc >> 24];
    }
    for (; count; count--)
        crc = crc >> 8 ^ tables[0][(crc ^ *bytes++) & 0xFF];
    return crc;
}

/* Sending */

static struct {
    _Alignas(4) uint8_t bytes[RAW_MAX + 4];
    uint32_t count; /* bytes so far, the open block included */
    uint32_t code;  /* where the open block's code byte goes */
} out;

static void begin_block(void)
{
    out.code = out.count++;
}

static void encode(const uint8_t *from, uint32_t count)
{
    uint8_t *to = out.bytes + out.count, *code = out.bytes + out.code;
    for (const uint8_t *end = from + count; from != end; from++) {
        uint8_t byte = *from;
        if (byte)
            *to++ = byte;
        if (!byte || to - code == BLOCK + 1) {
            *code = (uint8_t)(to - code);
            code = to++;
        }
    }
    out.count = (uint32_t)(to - out.bytes);
    out.code = (uint32_t)(code - out.bytes);
}

void frame_send(uint8_t type, const void *payload, uint32_t length)
{
    _Alignas(4) uint8_t header[HEADER] = {type, 0, (uint8_t)answering, (uint8_t)(answering >> 8)};
    uint32_t crc = ~crc32(crc32(0xFFFFFFFF, header, HEADER), payload, length);
    out.count = 0;
    begin_block();
    encode(header, HEADER);
    encode(payload, length);
    encode((const uint8_t *)&crc, CRC);
    out.bytes[out.code] = (uint8_t)(out.count - out.code);
    do
        out.bytes[out.count++] = 0; /* the end, and more of it up to a whole word: the ring copies words */
    while (out.count & 3);
    carrier_write(carrier, out.bytes, out.count);
}

static void send_error(uint16_t code, uint32_t detail)
{
    uint32_t words[2] = {code, detail};
    frame_send(FRAME_ERROR, words, sizeof words);
}

/* Receiving */

/* Decode in place (the result is never longer). Returns its length without the CRC, or 0 when it is no frame. */
static uint32_t decode(uint8_t *bytes, uint32_t count)
{
    const uint8_t *from = bytes, *end = bytes + count;
    uint8_t *to = bytes;
    while (from < end) {
        uint32_t code = *from++; /* never 0: zeros end frames */
        const uint8_t *next = from + code - 1;
        if (next > end)
            return 0;
        while (from != next)
            *to++ = *from++;
        if (code != BLOCK + 1 && from != end)
            *to++ = 0;
    }
    uint32_t length = (uint32_t)(to - bytes);
    if (length < HEADER + CRC)
        return 0;
    uint32_t crc = ~crc32(0xFFFFFFFF, bytes, length - CRC);
    for (uint32_t i = 0; i < CRC; i++)
        if (bytes[length - CRC + i] != (uint8_t)(crc >> 8 * i))
            return 0;
    return length - CRC;
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

/* An emulator delivers to the UART from a thread of its own, which needs the lock that every look at the UART takes:
 * looking all the time can keep it out for seconds. */
static void pause(void)
{
    for (uint32_t i = 0; i < 500; i++)
        __asm__ volatile("");
}

struct frame frame_receive(void)
{
    struct frame frame;
    for (;;) {
        for (enum carrier c = 0; c < CARRIERS; c++) {
            if (chosen && c != carrier)
                continue;
            struct receiver *r = &receivers[c];
            /* One byte of room is kept, so that a full buffer means too long. */
            while (carrier_read(c, r->bytes, &r->count, RAW_MAX + 1)) {
                if (r->count > RAW_MAX) {
                    r->oversize = true;
                    r->count = 0;
                } else if (complete(r, c, &frame)) {
                    return frame;
                }
            }
        }
        if (!chosen || carrier == CARRIER_UART)
            pause();
    }
}
