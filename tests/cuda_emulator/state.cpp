/* Settings from the environment, and the devices. */
#include "cuda_emulator/state.h"

#include <cstdlib>
#include <cstring>

#include "cuda_emulator/runtime.h"

namespace emulator {
namespace {

const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : nullptr;
}

long long number(const char *name, long long otherwise, long long least, long long most) {
    const char *value = variable(name);
    if (!value) return otherwise;
    char *end;
    long long n = strtoll(value, &end, 10);
    if (end != value && *end && !end[1]) {
        const char *units = "KMG", *unit = strchr(units, *end);
        if (unit) {
            for (const char *u = units; u <= unit; u++) n *= 1024;
            end++;
        }
    }
    if (end == value || *end || n < least || n > most)
        fail("%s=%s is not a number from %lld to %lld", name, value, least, most);
    return n;
}

settings read_settings() {
    settings s;
    s.gpus = (int)number("LAMINA_EMULATED_GPUS", s.gpus, 0, 64);
    s.memory = (size_t)number("LAMINA_EMULATED_MEMORY", (long long)s.memory, 0, 1LL << 50);
    s.taken = (size_t)number("LAMINA_EMULATED_TAKEN", 0, 0, (long long)s.memory);
    s.peers = number("LAMINA_EMULATED_PEERS", 1, 0, 1) != 0;
    s.races = number("LAMINA_EMULATED_RACES", 0, 0, 1) != 0;
    s.seed = (uint64_t)number("LAMINA_EMULATED_SEED", 1, 0, INT64_MAX);
    s.delay_us = (unsigned)number("LAMINA_EMULATED_DELAY_US", s.delay_us, 0, 1000000);
    if (const char *capability = variable("LAMINA_EMULATED_CAPABILITY")) {
        char *end;
        s.major = (int)strtol(capability, &end, 10);
        if (*end == '.') s.minor = (int)strtol(end + 1, &end, 10);
        if (*end) fail("LAMINA_EMULATED_CAPABILITY=%s is not like 8.0", capability);
    }
    const char *leaks = variable("LAMINA_EMULATED_LEAKS");
    s.leaks_matter = !leaks || strcmp(leaks, "ignore") != 0;
    return s;
}

/* Never destroyed: streams may still run when the program ends. */
std::mutex &books_mutex() {
    static std::mutex &mutex = *new std::mutex;
    return mutex;
}

device *make_devices() {
    device *all = new device[(size_t)configured().gpus + 1];
    for (int i = 0; i < configured().gpus; i++) all[i].limit = configured().memory;
    return all;
}

} // namespace

const settings &configured() {
    unseen hidden;
    static const settings &s = *new settings(read_settings());
    return s;
}

books::books() : lock(books_mutex()) {}

int device_count() {
    return configured().gpus;
}

device &device_at(int ordinal) {
    unseen hidden;
    static device *devices = make_devices();
    if (ordinal < 0 || ordinal >= device_count()) fail("there is no device %d", ordinal);
    return devices[ordinal];
}

void break_device(int ordinal, cudaError_t error) {
    unseen hidden;
    cudaError_t none = cudaSuccess;
    device_at(ordinal).error.compare_exchange_strong(none, error);
}

cudaError_t device_error(int ordinal) {
    unseen hidden;
    return device_at(ordinal).error;
}

} // namespace emulator
