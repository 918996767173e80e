#!/usr/bin/env python3
"""The tables of docs/GPU.md, "On paper", as Markdown: paper_tables.py build/release/bin/lamina-bench

Each is made of `lamina-bench paper` and `lamina-bench simulate`; nothing is run on a GPU. Further arguments go to `paper`:
another GPU's figures, say (--bf16 312 --tf32 156 --f32 19.5 --bandwidth 2039).
"""
import json
import os
import subprocess
import sys
import tempfile

NETWORKS = [
    ("ResNet-110", 128, ["--model", "resnet110", "--batch", "128"]),
    ("ViT-Ti", 128, ["--model", "vit-tiny", "--batch", "128"]),
    ("EDSR-baseline", 16, ["--model", "edsr-baseline", "--batch", "16", "--image-size", "48"]),
]
LINKS = [("NVLink", 450, 2), ("PCIe", 27.5, 5)]  # GB/s each way, microseconds
MICRO_BATCHES = 8
PARTS = ["forward", "aux", "backward", "update"]


class Bench:
    def __init__(self, program, arguments):
        self.program, self.arguments = program, arguments
        self.folder = tempfile.TemporaryDirectory()

    def run(self, command, *arguments):
        path = os.path.join(self.folder.name, "rows.json")
        text = [self.program, command, *map(str, arguments), "--json", path]
        subprocess.run(text, check=True, stdout=subprocess.DEVNULL)
        with open(path) as file:
            return json.load(file)

    def paper(self, network, *arguments):
        return self.run("paper", *network, *arguments, *self.arguments)

    def cut(self, network, method, blocks):
        """Rows of the whole network and of the blocks, and the file that simulate reads."""
        times = os.path.join(self.folder.name, "times.json")
        rows = self.paper(network, "--method", method, "--blocks", blocks, "--micro-batches", MICRO_BATCHES,
                          "--times", times)
        return rows, times

    def simulate(self, times, gigabytes, latency, micro_overhead):
        rows = self.run("simulate", "--times", times, "--link", gigabytes, "--latency", latency,
                        "--micro-batches", MICRO_BATCHES, "--micro-overhead", f"{1e6 * micro_overhead:.2f}")
        return {row["schedule"]: row["images_per_s"] for row in rows}


def table(title, heads, rows):
    print(f"**{title}**\n")
    print("| " + " | ".join(heads) + " |")
    print("|---" + "|--:" * (len(heads) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def whole_networks(bench):
    rows = []
    for name, _, network in NETWORKS:
        for precision in ["bf16", "tf32", "f32"]:
            r = bench.paper(network, "--precision", precision)[0]
            s, n = r["seconds"], r["launches"]
            rows.append([f"{name}, {precision}", f"{r['ops']}", f"{r['flops'] / 1e9:.1f}", f"{r['bytes'] / 1e6:.0f}",
                         f"{r['matrix_bytes'] / 1e6:.0f}", f"{n['nodes']} + {n['update']}",
                         f"{1e3 * s['kernels']:.2f}", f"{1e3 * s['graph']:.2f}", f"{1e3 * s['each']:.2f}",
                         f"{100 * r['of_peak']:.1f}"])
    table("End to end on one GPU",
          ["network", "ops", "GFLOP", "MB", "of products", "launches", "kernels ms", "graph ms", "each ms", "% peak"], rows)


def blocks_of_networks(bench):
    rows = []
    for name, _, network in NETWORKS:
        for r in bench.cut(network, "dgl", 4)[0][1:]:
            s, n = r["seconds"], r["launches"]
            rows.append([f"{name}, {r['name'].split('(')[1].rstrip(')')}", f"{r['flops'] / 1e9:.1f}", f"{r['bytes'] / 1e6:.0f}",
                         f"{n['nodes']} + {n['update']}", *[f"{1e3 * s[part]:.2f}" for part in PARTS],
                         f"{1e3 * s['graph']:.2f}", f"{1e3 * s['each']:.2f}", f"{r['send_bytes'] / 1e6:.1f}"])
    table("Four blocks with dgl, bf16: milliseconds of a step",
          ["block", "GFLOP", "MB", "launches", *PARTS, "graph ms", "each ms", "sends MB"], rows)


def pipelines(bench):
    rows = []
    for name, batch, network in NETWORKS:
        for method in ["dgl", "glcan"]:
            for blocks in [2, 4, 8]:
                cut, times = bench.cut(network, method, blocks)
                alone = batch / cut[0]["seconds"]["graph"]
                slowest = max(r["seconds"]["graph"] for r in cut[1:])
                row = [f"{name}, {method}, {blocks}", f"{1e3 * slowest:.2f}"]
                for _, gigabytes, latency in LINKS:
                    rate = bench.simulate(times, gigabytes, latency, cut[0]["micro_overhead"])
                    row += [f"{rate['ppll']:.0f}", f"{rate['ppll'] / rate['sequential']:.2f}",
                            f"{rate['ppll'] / rate['gpipe']:.2f}", f"{100 * rate['ppll'] / blocks / alone:.0f}"]
                rows.append(row)
    heads = ["network, method, GPUs", "slowest ms"]
    for name, _, _ in LINKS:
        heads += [f"{name}: images/s", "/ sequential", f"/ gpipe {MICRO_BATCHES}", "efficiency %"]
    table("PPLL in bf16, with graphs", heads, rows)


def savings(bench):
    """What parts of a step with a graph cost, in bf16; the graph itself is what launching each kernel would cost more."""
    rows = []
    for name, _, network in NETWORKS:
        r = bench.paper(network)[0]
        s, n, gpu = r["seconds"], r["launches"], r["gpu"]
        times = [s["graph"], s["each"] - s["graph"],
                 r["again_bytes"] / gpu["bytes"] + gpu["node"] * n["again"],
                 gpu["node"] * n["bundles"], (r["bytes"] - r["matrix_bytes"]) / gpu["bytes"],
                 s["graph"] * r["of_peak"]]
        rows.append([name, *[f"{1e3 * t:.2f}".replace("-0.00", "0.00") for t in times]])
    table("What counts in a step, bf16: milliseconds",
          ["network", "step", "saved by the graph", "run again", "weights and sums",
           "bytes outside of products", "FLOPs at the peak"], rows)


def main():
    bench = Bench(sys.argv[1], sys.argv[2:])
    whole_networks(bench)
    savings(bench)
    blocks_of_networks(bench)
    pipelines(bench)


if __name__ == "__main__":
    main()
