/* SPDX-License-Identifier: Apache-2.0
 * Polled UARTs: CMSDK (mps2) and 16550. Nobody waits for ever: a transmitter that stays full loses the byte. */
#include "carrier.h"

enum { PATIENCE = 10 * 1000 * 1000 };

#if defined(RIG_UART_CMSDK)

static volatile uint32_t *const uart = (volatile uint32_t *)RIG_UART_BASE;
enum { DATA = 0, STATE = 1, CTRL = 2, BAUDDIV = 4, TX_FULL = 1, RX_FULL = 2, ENABLE_BOTH = 3 };

void uart_init(void)
{
    uart[BAUDDIV] = 16;
    uart[CTRL] = ENABLE_BOTH;
    (void)uart[DATA]; /* QEMU: enabling the receiver does not wake the main loop, reading does */
}

int uart_get(void)
{
    return uart[STATE] & RX_FULL ? (int)(uart[DATA] & 0xFF) : -1;
}

static bool writable(void)
{
    return !(uart[STATE] & TX_FULL);
}

static void transmit(uint8_t byte)
{
    uart[DATA] = byte;
}

#elif defined(RIG_UART_16550)

static volatile uint8_t *const uart = (volatile uint8_t *)RIG_UART_BASE;
enum { RBR = 0, FCR = 2, LCR = 3, LSR = 5, DATA_READY = 1, TX_EMPTY = 0x20 };

void uart_init(void)
{
    uart[LCR] = 3; /* 8N1 */
    uart[FCR] = 1; /* FIFOs on, and emptied */
    (void)uart[RBR]; /* QEMU: what came before was dropped, and nothing more is delivered until somebody reads */
}

int uart_get(void)
{
    return uart[LSR] & DATA_READY ? uart[RBR] : -1;
}

static bool writable(void)
{
    return uart[LSR] & TX_EMPTY;
}

static void transmit(uint8_t byte)
{
    uart[RBR] = byte;
}

#else
#error "no UART: define RIG_UART_CMSDK or RIG_UART_16550 and RIG_UART_BASE"
#endif

void uart_put(uint8_t byte)
{
    for (uint32_t i = 0; i < PATIENCE; i++)
        if (writable()) {
            transmit(byte);
            return;
        }
}
