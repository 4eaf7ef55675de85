// SPDX-License-Identifier: Apache-2.0
// What C code made by wasm2c 1.0.42 needs of its host, for a component that runs unprivileged on bare metal.
//
// * Guard-page style: no bounds check at all. An access is `data + (u32)(index + offset)`, modulo 2^32; what stops it is
//   the MPU or PMP, which is what the rig examines.
// * Everything a component may change (globals, table and memory descriptors) is in its instance; nothing here is static
//   and writable.
// * Traps are instructions: `udf #cause` on Arm (cause = wasm_rt_trap_t), `ebreak` on RISC-V.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The PC of a faulting access must lie in the function that wasm says accesses.
#define inline inline __attribute__((always_inline))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define wasm_rt_memcpy __builtin_memcpy
#define wasm_rt_unreachable __builtin_unreachable

#define WASM_RT_MEMCHECK_GUARD_PAGES 1
#define WASM_RT_MEMCHECK_BOUNDS_CHECK 0
#define WASM_RT_USE_MMAP 0
#define WASM_RT_USE_SEGUE 0
#define WASM_RT_STACK_DEPTH_COUNT 0
#define WASM_RT_SANITY_CHECKS 0

typedef enum {
    WASM_RT_TRAP_NONE,
    WASM_RT_TRAP_OOB,
    WASM_RT_TRAP_INT_OVERFLOW,
    WASM_RT_TRAP_DIV_BY_ZERO,
    WASM_RT_TRAP_INVALID_CONVERSION,
    WASM_RT_TRAP_UNREACHABLE,
    WASM_RT_TRAP_CALL_INDIRECT,
    WASM_RT_TRAP_NULL_REF,
} wasm_rt_trap_t;

#if defined(__arm__)
#define RIG_TRAP(cause) __asm__ volatile("udf #%c0" ::"i"(cause))
#elif defined(__riscv)
#define RIG_TRAP(cause) __asm__ volatile("ebreak")
#else
#error "a target without a trap instruction"
#endif
#define wasm_rt_trap(cause) \
    ({                      \
        RIG_TRAP(cause);    \
        __builtin_unreachable(); \
    })

typedef enum { WASM_RT_I32, WASM_RT_I64, WASM_RT_F32, WASM_RT_F64, WASM_RT_FUNCREF } wasm_rt_type_t;

typedef void (*wasm_rt_function_ptr_t)(void);

typedef struct wasm_rt_tailcallee_t {
    void (*fn)(void **instance_ptr, void *tail_call_stack, struct wasm_rt_tailcallee_t *next);
} wasm_rt_tailcallee_t;

typedef const char *wasm_rt_func_type_t;

typedef struct {
    wasm_rt_func_type_t func_type;
    wasm_rt_function_ptr_t func;
    wasm_rt_tailcallee_t func_tailcallee;
    void *module_instance;
} wasm_rt_funcref_t;

#define wasm_rt_funcref_null_value ((wasm_rt_funcref_t){NULL, NULL, {NULL}, NULL})

typedef struct {
    wasm_rt_funcref_t *data;
    uint32_t max_size;
    uint32_t size;
} wasm_rt_funcref_table_t;

// Tables of external references do not occur in fused components; the generated helpers only name the type.
typedef void *wasm_rt_externref_t;
#define wasm_rt_externref_null_value ((wasm_rt_externref_t)NULL)
typedef struct {
    wasm_rt_externref_t *data;
    uint32_t max_size;
    uint32_t size;
} wasm_rt_externref_table_t;

typedef struct {
    uint8_t *data;
    uint32_t pages;  // memory.size
    uint64_t size;   // the limit of the generated range checks: all ones, so that bulk operations have none either
} wasm_rt_memory_t;

// Memories never grow: the plan gives each its place before the start.
#define wasm_rt_grow_memory(memory, delta) ((delta) == 0 ? (memory)->pages : 0xFFFFFFFFu)

static inline bool wasm_rt_is_initialized(void) { return true; }
static inline void wasm_rt_free_memory(wasm_rt_memory_t *memory) { (void)memory; }
static inline void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table) { (void)table; }

static inline void rig_memory_init(wasm_rt_memory_t *memory, uint8_t *data, uint32_t pages) {
    memory->data = data;
    memory->pages = pages;
    memory->size = UINT64_MAX;
}

// Table entries lie behind the instance, `offset` bytes after its end; the null reference is all zeros.
static inline void rig_table_init(wasm_rt_funcref_table_t *table, void *entries, uint32_t size) {
    table->data = (wasm_rt_funcref_t *)entries;
    table->max_size = size;
    table->size = size;
    for (uint32_t i = 0; i < size; i++) table->data[i] = wasm_rt_funcref_null_value;
}
