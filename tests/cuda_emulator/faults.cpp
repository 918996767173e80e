/* Counting calls, and failures on order. */
#include "cuda_emulator/faults.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "cuda_emulator/orders.h"
#include "cuda_emulator/runtime.h"
#include "cuda_emulator/state.h"

namespace emulator {
namespace {

struct loss {
    int device;
    long left;
};

/* Under the books' lock. `left` counts down to the call or piece of work that fails. */
struct orders {
    std::map<std::string, long, std::less<>> counts, left;
    std::vector<loss> losses;
    std::string count_file;
};

const char *split(const char *name, std::string *before, long *after) {
    const char *value = getenv(name);
    if (!value || !*value) return nullptr;
    const char *colon = strrchr(value, ':');
    char *end = nullptr;
    *after = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || *end || *after <= 0) fail("%s=%s is not like NAME:NUMBER", name, value);
    before->assign(value, colon);
    return value;
}

orders *read_orders() {
    orders *o = new orders;
    std::string name;
    long n;
    if (split("LAMINA_EMULATED_FAIL", &name, &n)) o->left[name] = n;
    if (split("LAMINA_EMULATED_LOSE", &name, &n)) o->losses.push_back({atoi(name.c_str()), n});
    if (const char *file = getenv("LAMINA_EMULATED_COUNT")) o->count_file = file;
    return o;
}

orders &all() {
    static orders *o = read_orders();
    return *o;
}

bool count(const char *name) {
    orders &o = all();
    o.counts[name]++;
    auto order = o.left.find(std::string_view(name));
    if (order == o.left.end() || --order->second > 0) return false;
    o.left.erase(order);
    return true;
}

/* An order that is carried out is counted, too. */
bool note_order(bool fails, const char *name) {
    if (fails) all().counts[std::string("failed:") + name]++;
    return fails;
}

void lose_devices() {
    std::vector<loss> &losses = all().losses;
    for (size_t i = 0; i < losses.size();) {
        if (--losses[i].left > 0) {
            i++;
            continue;
        }
        break_device(losses[i].device, cudaErrorDevicesUnavailable);
        losses.erase(losses.begin() + (long)i);
    }
}

long counted(const char *what) {
    auto found = all().counts.find(std::string_view(what));
    return found == all().counts.end() ? 0 : found->second;
}

/* Written when the program ends, by the destructor of an object that lives that long. */
struct count_writer {
    ~count_writer() {
        books locked;
        if (all().count_file.empty()) return;
        FILE *file = fopen(all().count_file.c_str(), "w");
        if (!file) return;
        fprintf(file, "%ld\n", counted("any"));
        for (const auto &[name, calls] : all().counts) fprintf(file, "%s\t%ld\n", name.c_str(), calls);
        fclose(file);
    }
} writer;

} // namespace

bool count_call(const char *entry_point) {
    books locked;
    lose_devices();
    bool any = count("any"), named = count(entry_point);
    return note_order(any || named, entry_point);
}

bool count_work(const char *name) {
    books locked;
    const std::string work = std::string("work:") + name;
    bool any = count("work"), named = count(work.c_str());
    return note_order(any || named, work.c_str());
}

} // namespace emulator

using emulator::all;
using emulator::books;

void emulator_fail(const char *what, long n) {
    books locked;
    if (n <= 0)
        all().left.erase(what);
    else
        all().left[what] = n;
}

void emulator_lose(int device, long n) {
    if (n <= 0) return emulator::break_device(device, cudaErrorDevicesUnavailable);
    books locked;
    all().losses.push_back({device, n});
}

void emulator_set_memory(int device, size_t bytes) {
    books locked;
    emulator::device_at(device).limit = bytes;
}

void emulator_restore(void) {
    books locked;
    all().left.clear();
    all().losses.clear();
    for (int i = 0; i < emulator::device_count(); i++) emulator::device_at(i).error = cudaSuccess;
}

long emulator_calls(const char *what) {
    books locked;
    return emulator::counted(what);
}

size_t emulator_memory_used(int device) {
    books locked;
    return emulator::device_at(device).used;
}
