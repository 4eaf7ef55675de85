/* SPDX-License-Identifier: Apache-2.0
 * Two byte streams to the host: the UART and the ring in the mailbox. */
#ifndef RIG_CARRIER_H
#define RIG_CARRIER_H

#include "wire.h"

enum carrier { CARRIER_UART, CARRIER_RING, CARRIERS };

void uart_init(void);
int uart_get(void); /* a byte, or -1 */
void uart_put(uint8_t byte);

void carrier_init(void);

/* Append what arrived to to[*count], up to and without a zero. True: a zero came, or *count reached `room`; false:
 * nothing more is there. */
bool carrier_read(enum carrier carrier, uint8_t *to, uint32_t *count, uint32_t room);

/* `bytes` aligned to 4, `count` a multiple of 4; waits for room. */
void carrier_write(enum carrier carrier, const uint8_t *bytes, uint32_t count);

#endif
