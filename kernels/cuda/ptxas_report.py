#!/usr/bin/env python3
"""Registers, shared memory and spills of each kernel, from a build's log:

    cmake --preset cuda -DCMAKE_CUDA_FLAGS=-Xptxas=-v && cmake --build build/cuda --target lamina_cuda 2>&1 | tee log
    kernels/cuda/ptxas_report.py log

A row for each kernel: the fewest and the most registers over its instances and architectures, the most static shared memory
(kernels here have none; theirs is dynamic), and every instance that spills, by architecture. Exits with 1 if any does.
"""
import collections
import re
import subprocess
import sys


def kernels(lines):
    """(mangled name, architecture, registers, shared bytes, spilled bytes) of each function in the log."""
    name = arch = None
    spilled = 0
    for line in lines:
        if found := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            name, arch = found.groups()
            spilled = 0
        elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(found[1]) + int(found[2])
        elif name and (found := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            yield name, arch, int(found[1]), int(shared[1]) if shared else 0, spilled
            name = None


def short(names):
    """Mangled name -> what stands before its parameters, without namespaces."""
    said = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    plain = (re.sub(r"<unnamed>::|\(anonymous namespace\)::|^void ", "", text) for text in said.splitlines())
    return {name: text.split("(const")[0].split("(")[0] for name, text in zip(names, plain)}


def main():
    with open(sys.argv[1]) as log:
        found = list(kernels(log))
    names = short(sorted({row[0] for row in found}))
    table = collections.defaultdict(list)
    for name, *row in found:
        table[names[name].split("<")[0]].append((names[name], *row))
    print(f"{'kernel':<28} {'registers':>10} {'shared':>7}  spills")
    any_spill = False
    for kernel, rows in sorted(table.items()):
        registers = [row[2] for row in rows]
        spills = [f"{row[0]} {row[1]}: {row[4]} bytes" for row in rows if row[4]]
        any_spill |= bool(spills)
        print(f"{kernel:<28} {min(registers):>4} - {max(registers):>3} {max(row[3] for row in rows):>7}  {'; '.join(spills) or '-'}")
    return any_spill


sys.exit(main())
