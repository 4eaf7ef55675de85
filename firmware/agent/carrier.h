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
int carrier_get(enum carrier carrier); /* a byte, or -1 */
void carrier_put(enum carrier carrier, uint8_t byte);
void carrier_flush(enum carrier carrier);

#endif
