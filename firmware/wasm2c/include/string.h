// SPDX-License-Identifier: Apache-2.0
// Bulk operations as loops inside the function that asked for them: the PC of a faulting copy is its own, and the first
// byte that faults is the first one out of bounds in the direction of the copy. Words where both ends are aligned.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RIG_INLINE static inline __attribute__((always_inline, unused))

typedef uint32_t __attribute__((may_alias)) rig_word;

RIG_INLINE void *rig_memmove(void *to, const void *from, size_t n) {
    volatile uint8_t *d = (volatile uint8_t *)to;
    const volatile uint8_t *s = (const volatile uint8_t *)from;
    if ((uintptr_t)d - (uintptr_t)s < n) {  // the destination starts inside the source: downwards
        while (n > 0) {
            n--;
            d[n] = s[n];
        }
        return to;
    }
    if ((((uintptr_t)d | (uintptr_t)s) & 3) == 0)
        for (; n >= 4; n -= 4, d += 4, s += 4) *(volatile rig_word *)d = *(const volatile rig_word *)s;
    for (; n > 0; n--) *d++ = *s++;
    return to;
}

RIG_INLINE void *rig_memset(void *to, int value, size_t n) {
    volatile uint8_t *d = (volatile uint8_t *)to;
    for (; n > 0; n--) *d++ = (uint8_t)value;
    return to;
}

RIG_INLINE int rig_memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    for (; n > 0; n--, x++, y++)
        if (*x != *y) return *x < *y ? -1 : 1;
    return 0;
}

#define memmove rig_memmove
#define memcpy rig_memmove
#define memset rig_memset
#define memcmp rig_memcmp
