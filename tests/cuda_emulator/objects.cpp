/* Handles that are alive, and leaks when the program ends. */
#include "cuda_emulator/objects.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <unistd.h>

#include "cuda_emulator/faults.h"
#include "cuda_emulator/memory.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"

namespace emulator {
namespace {

enum { EXIT_LEAKED = 97 };

/* Under the books' lock. */
std::map<std::string, std::set<const void *>, std::less<>> &objects() {
    static auto *all = new std::map<std::string, std::set<const void *>, std::less<>>;
    return *all;
}

bool is_alive(const char *kind, const void *object) {
    auto found = objects().find(std::string_view(kind));
    return found != objects().end() && found->second.count(object) != 0;
}

/* Its destructor runs when the program ends, or when the module that the emulator is part of is unloaded. */
struct leak_check {
    ~leak_check() {
        if (!configured().leaks_matter || emulator_leaks() == 0) return;
        fflush(nullptr);
        _exit(EXIT_LEAKED);
    }
} at_exit;

} // namespace

void add_object(const char *kind, const void *object) {
    books locked;
    objects()[kind].insert(object);
}

void expect_object(const char *kind, const void *object) {
    books locked;
    if (!is_alive(kind, object)) fail("%p is no %s that is alive", object, kind);
}

void remove_object(const char *kind, const void *object) {
    expect_object(kind, object);
    books locked;
    objects()[kind].erase(object);
}

int list_objects() {
    books locked;
    int count = 0;
    for (const auto &[kind, alive] : objects()) {
        if (alive.empty()) continue;
        fprintf(stderr, "emulator: leaked: %zu of %s\n", alive.size(), kind.c_str());
        count += (int)alive.size();
    }
    return count;
}

} // namespace emulator

int emulator_leaks(void) {
    return emulator::list_memory() + emulator::list_objects();
}
