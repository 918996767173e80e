/* For the emulator's own tests: each runs in a process of its own, because a check that fails aborts.
 *
 *     int main() {
 *         expect_success("copies", copies);
 *         expect_abort("double free", double_free, "freed twice");
 *         return test_result();
 *     }
 */
#ifndef LAM_CUDA_EMULATOR_TEST_HARNESS_H
#define LAM_CUDA_EMULATOR_TEST_HARNESS_H

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)
#define OK(call) CHECK((call) == cudaSuccess)

inline int tests_failed, tests_run;

struct outcome {
    int status;
    std::string says; /* on stderr */
};

/* The environment: "NAME=value" settings, made in the test's process alone. */
using environment = std::initializer_list<const char *>;

inline outcome run_apart(void (*test)(), environment settings) {
    int ends[2];
    if (pipe(ends) != 0) abort();
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        for (const char *setting : settings) putenv(const_cast<char *>(setting));
        alarm(120);
        test();
        exit(0);
    }
    close(ends[1]);
    outcome result = {0, ""};
    char buffer[4096];
    for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
        result.says.append(buffer, (size_t)got);
    close(ends[0]);
    waitpid(child, &result.status, 0);
    return result;
}

inline void judge(const char *name, const outcome &o, bool good, const char *wanted) {
    tests_run++;
    if (good && o.says.find(wanted) != std::string::npos) return;
    tests_failed++;
    fprintf(stderr, "FAILED: %s: status %#x, wanted \"%s\"; it says:\n%s\n", name, (unsigned)o.status, wanted,
            o.says.c_str());
}

inline void expect_success(const char *name, void (*test)(), environment settings = {}) {
    outcome o = run_apart(test, settings);
    judge(name, o, o.status == 0, "");
}

inline void expect_abort(const char *name, void (*test)(), const char *message, environment settings = {}) {
    outcome o = run_apart(test, settings);
    judge(name, o,
          WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGABRT && o.says.rfind("emulator: ", 0) == 0,
          message);
}

inline void expect_exit(const char *name, void (*test)(), int code, const char *message,
                        environment settings = {}) {
    outcome o = run_apart(test, settings);
    judge(name, o, WIFEXITED(o.status) && WEXITSTATUS(o.status) == code, message);
}

inline int test_result() {
    printf("%d of %d tests passed\n", tests_run - tests_failed, tests_run);
    return tests_failed != 0;
}

#endif
