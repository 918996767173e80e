"""What the measuring scripts share: a clean environment for PyTorch, and a watch on what others do meanwhile."""

import os
import subprocess
import time

OPENMP_BLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"


def torch_environment(threads):
    """PyTorch at its best: OpenBLAS built for OpenMP (the build for pthreads fights with PyTorch's own threads),
    with the kernels that OpenBLAS itself finds right for this processor."""
    env = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "DNNL_MAX_CPU_ISA"):
        env.pop(name, None)
    if os.path.isdir(OPENMP_BLAS):
        old = env.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = OPENMP_BLAS + (":" + old if old else "")
    env["OMP_NUM_THREADS"] = str(threads)
    return env


def busy_seconds():
    """CPU seconds that all processes and the hypervisor's other guests have taken since boot."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def run_watched(command, env=None):
    """Runs a command. Returns its output, its peak resident bytes, and the share of one core that others took."""
    busy, start = busy_seconds(), time.monotonic()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    foreign = max(0.0, busy_seconds() - busy - usage.ru_utime - usage.ru_stime) / wall
    return output, usage.ru_maxrss * 1024, foreign


def status_bytes(field):
    """VmRSS, VmHWM, ... of this process."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


def forget_peak():
    """Lets VmHWM start again from what is resident now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
