/* Fibers on x86-64: what a function must preserve is pushed on the stack, and the stack pointer is exchanged. */
#include "cuda_emulator/fibers.h"

#include <cstdint>
#include <pthread.h>
#include <sys/mman.h>

#include "cuda_emulator/runtime.h"
#include "cuda_emulator/sanitizers.h"

#ifndef __x86_64__
#error "the emulator's fibers are written for x86-64"
#endif

/* void lam_emulator_switch(void **save_stack_pointer, void *stack_pointer) */
extern "C" __attribute__((visibility("hidden"))) void lam_emulator_switch(void **save, void *to);
asm(R"(
    .text
    .globl lam_emulator_switch
    .hidden lam_emulator_switch
    .type lam_emulator_switch, @function
lam_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size lam_emulator_switch, . - lam_emulator_switch
)");

namespace emulator {
namespace {

enum { PAGE = 4096, CACHE_LINE = 64, SAVED_REGISTERS = 6 };
#if defined(EMULATOR_ASAN) || defined(EMULATOR_TSAN)
constexpr size_t STACK_BYTES = 256 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif

/* Of a fiber that is entered for the first time. */
thread_local void (*entered_main)();

void enter_fiber() {
#ifdef EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    unseen_value(entered_main)();
    fail("a fiber came to its end");
}

} // namespace

void home_fiber(fiber *home, [[maybe_unused]] bool apart) {
    pthread_attr_t attributes;
    void *stack = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
        pthread_attr_getstack(&attributes, &stack, &home->stack_bytes) != 0)
        fail("the stack of a thread cannot be found");
    pthread_attr_destroy(&attributes);
    home->stack = static_cast<char *>(stack);
#ifdef EMULATOR_TSAN
    if (apart) home->tsan = __tsan_get_current_fiber();
#endif
}

/* Below each stack is a page that cannot be touched. The stacks begin at different places of a page, or else all would want
 * the same lines of the cache. */
void open_fiber(fiber *f, void (*main)(), [[maybe_unused]] bool apart) {
    void *room = mmap(nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED || mprotect(room, PAGE, PROT_NONE) != 0)
        fail("there is no memory for a thread's stack");
    f->stack = static_cast<char *>(room) + PAGE;
    f->stack_bytes = STACK_BYTES;
    static thread_local size_t opened;
    uintptr_t *top = reinterpret_cast<uintptr_t *>(f->stack + STACK_BYTES - opened++ * CACHE_LINE % PAGE);
    *--top = 0; /* where enter_fiber would return to */
    *--top = reinterpret_cast<uintptr_t>(enter_fiber);
    for (int i = 0; i < SAVED_REGISTERS; i++) *--top = 0;
    f->stack_pointer = top;
    entered_main = main;
#ifdef EMULATOR_TSAN
    if (apart) f->tsan = __tsan_create_fiber(0);
#endif
}

void close_fiber(fiber *f) {
#ifdef EMULATOR_TSAN
    if (f->tsan) __tsan_destroy_fiber(f->tsan);
#endif
    open_memory(f->stack, f->stack_bytes); /* its functions never returned */
    munmap(f->stack - PAGE, f->stack_bytes + PAGE);
}

void switch_fiber(fiber *from, fiber *to) {
#ifdef EMULATOR_ASAN
    __sanitizer_start_switch_fiber(&from->asan, to->stack, to->stack_bytes);
#endif
#ifdef EMULATOR_TSAN
    if (to->tsan) __tsan_switch_to_fiber(to->tsan, __tsan_switch_to_fiber_no_sync);
#endif
    lam_emulator_switch(&from->stack_pointer, to->stack_pointer);
#ifdef EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(from->asan, nullptr, nullptr);
#endif
}

} // namespace emulator
