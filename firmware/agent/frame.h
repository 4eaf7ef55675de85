/* SPDX-License-Identifier: Apache-2.0
 * Frames: COBS(type | flags | seq | payload | crc32) 00. */
#ifndef RIG_FRAME_H
#define RIG_FRAME_H

#include "wire.h"

struct frame { /* what arrived last */
    uint8_t type;
    uint16_t seq;
    const uint8_t *payload; /* aligned to 4 */
    uint32_t length;
};

struct frame frame_receive(void); /* waits for a valid one; answers broken ones with ERROR */
void frame_send(uint8_t type, const void *payload, uint32_t length); /* with the seq of the frame received last */

#endif
