// SPDX-License-Identifier: Apache-2.0
// Test double of the agent: runs lowered functions privileged and prints what they return, over semihosting.
#pragma clang section text = ".agent.text" rodata = ".agent.rodata" data = ".agent.data" bss = ".agent.bss"
#include <stdint.h>

extern uint32_t rig_image_instances[] __attribute__((weak));
extern const uint32_t rig_instance_size;
extern uint8_t rig_stack_0_end[];
void rig_image_reset(void);
void run_all(void);

static uint32_t host(uint32_t operation, const void *argument) {
#ifdef __arm__
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#else
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\nslli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#endif
}

static void say(const char *text) { host(4, text); }

static char line[24];
void show(uint64_t value) {
    for (int i = 0; i < 16; i++) line[i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 15];
    line[16] = '\n';
    line[17] = 0;
    say(line);
}

uint32_t saved[16];
int save(void);
void restore(void);

void trapped(void) {
    say("trap\n");
    restore();
}

void *instance(void) { return rig_image_instances ? (void *)(uintptr_t)rig_image_instances[0] : 0; }

void start(void) {
    if (rig_image_instances) rig_image_instances[0] = (uint32_t)(uintptr_t)(rig_stack_0_end - RESERVE);
    rig_image_reset();
    run_all();
    say("end\n");
    uint32_t block[2] = {0x20026, 0};
    host(0x18, sizeof(void *) == 4 ? (const void *)0x20026 : block);
    for (;;) {}
}

#ifdef __arm__
__asm__(".section .agent.text,\"ax\",%progbits\n.syntax unified\n.thumb\n"
        ".globl save\n.type save,%function\nsave: ldr r1, =saved\nstmia r1!, {r4-r11}\nmov r2, sp\nstr r2, [r1]\n"
        "str lr, [r1, #4]\nmovs r0, #0\nbx lr\n"
        ".globl restore\n.type restore,%function\nrestore: ldr r1, =saved\nldmia r1!, {r4-r11}\nldr r2, [r1]\n"
        "mov sp, r2\nldr lr, [r1, #4]\nmovs r0, #1\nbx lr\n.ltorg\n"
        // The fault's frame is left behind: `trapped` runs in its place.
        ".globl fault\n.type fault,%function\nfault: mrs r0, msp\nldr r1, =trapped\nstr r1, [r0, #24]\n"
        "ldr r1, =0x01000000\nstr r1, [r0, #28]\nbx lr\n.ltorg\n"
        ".globl reset\n.type reset,%function\nreset: ldr r0, =0xE000ED88\nldr r1, [r0]\norr r1, r1, #0xF00000\n"
        "str r1, [r0]\ndsb\nisb\nb start\n.ltorg\n");
void fault(void);
void reset(void);
__attribute__((section(".agent.vectors"), used)) static const void *const vectors[7] = {
    (const void *)STACK, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};
#else
__asm__(".section .agent.vectors,\"ax\",@progbits\n"
        ".globl _start\n_start: la t0, fault\ncsrw mtvec, t0\nli sp, " STACK_TEXT "\ntail start\n"
        ".balign 4\nfault: tail trapped\n"
        ".section .agent.text,\"ax\",@progbits\n"
        ".globl save\nsave: la t0, saved\nsw ra, 0(t0)\nsw sp, 4(t0)\nsw s0, 8(t0)\nsw s1, 12(t0)\nsw s2, 16(t0)\n"
        "sw s3, 20(t0)\nsw s4, 24(t0)\nsw s5, 28(t0)\nsw s6, 32(t0)\nsw s7, 36(t0)\nsw s8, 40(t0)\nsw s9, 44(t0)\n"
        "sw s10, 48(t0)\nsw s11, 52(t0)\nli a0, 0\nret\n"
        ".globl restore\nrestore: la t0, saved\nlw ra, 0(t0)\nlw sp, 4(t0)\nlw s0, 8(t0)\nlw s1, 12(t0)\nlw s2, 16(t0)\n"
        "lw s3, 20(t0)\nlw s4, 24(t0)\nlw s5, 28(t0)\nlw s6, 32(t0)\nlw s7, 36(t0)\nlw s8, 40(t0)\nlw s9, 44(t0)\n"
        "lw s10, 48(t0)\nlw s11, 52(t0)\nli a0, 1\nret\n");
#endif
