"""The engine beside its peers, in one run: `make bench-engine` calls this.

    python engine.py --ours PROGRAM --rten PROGRAM [--cache FOLDER] [--rounds N] [--markdown FILE] [MODEL ...]

Every candidate is a process with one thread on one processor. They take turns, one run each a round, and the first runs, in which things are
compiled, do not count. Times are processor time; of each candidate the best is taken, for other programs on the machine can only add to it. The
peak of fused multiply-adds is measured in the same run, before and after.
"""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = 128
# Multiply-adds of one run, counted by hand from the layers' shapes, in units of 2 x 10^9 operations.
GFLOP = {
    "gemm-1024": 2.147, "gemm-2048": 17.18, "resnet18": 3.63, "resnet50": 8.18, "mobilenetv2": 0.60, "minilm": 2.87, "bert-base": 22.4,
    "vit-b16": 35.1, "gpt2": 32.2,
}
# Nodes, each of which costs next to nothing: what counts is the price of one.
CHAIN = ("chain-1000", 1000)
WARM_UPS = 3


class Candidate:
    """A process that answers `run` with the milliseconds that it took."""

    def __init__(self, name, command, environment=None):
        self.name, self.times = name, []
        command = ["taskset", "-c", "0", *map(str, command)] if os.path.exists("/usr/bin/taskset") else list(map(str, command))
        env = {**os.environ, "POCL_MAX_PTHREAD_COUNT": "1", "RTEN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        if self.process.stdout.readline().split()[:1] != ["ready"]:
            sys.exit(f"{name} does not start: {' '.join(command)}")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended")
        return answer

    def run(self):
        return float(self.ask("run"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def inputs(folder, name):
    """The model's inputs, the same for everybody."""
    rng = np.random.default_rng(5)
    folder = folder / f"{name}-inputs"
    folder.mkdir(parents=True, exist_ok=True)
    if name in ("minilm", "bert-base", "gpt2"):
        np.save(folder / "input_ids.npy", rng.integers(0, 30000, (1, TOKENS), np.int64))
        np.save(folder / "attention_mask.npy", np.ones((1, TOKENS), np.int64))
    elif name == CHAIN[0]:
        np.save(folder / "input.npy", rng.random((1, 8), np.float32))
    elif name.startswith("gemm-"):
        size = int(name.split("-")[1])
        np.save(folder / "input.npy", rng.random((size, size), np.float32))
    else:
        np.save(folder / "input.npy", rng.random((1, 3, 224, 224), np.float32))
    return folder


def measure(candidates, rounds):
    for candidate in candidates:
        for _ in range(WARM_UPS):
            candidate.run()
    for _ in range(rounds):
        for candidate in candidates:
            candidate.times.append(candidate.run())
    return {candidate.name: min(candidate.times) for candidate in candidates}


def exact_to_fast(candidates):
    """What our rules cost: the median of the ratios of runs that follow each other."""
    times = {candidate.name: candidate.times for candidate in candidates}
    return float(np.median([exact / fast for exact, fast in zip(times["ours"], times["fast"])]))


def table(rows, names):
    yield "| model | GFLOP | " + " | ".join(f"{name}, ms" for name in names) + " | ours, GFLOP/s | ours / onnxruntime | ours / rten | of peak |"
    yield "| --- " * (len(names) + 6) + "|"
    for model, best, peak in rows:
        def ratio(name):
            return f"{best['ours'] / best[name]:.2f}" if name in best else ""

        rate = GFLOP[model] / best["ours"] * 1e3
        cells = [model, f"{GFLOP[model]:.2f}", *(f"{best[n]:.2f}" if n in best else "" for n in names)]
        cells += [f"{rate:.1f}", ratio("onnxruntime"), ratio("rten"), f"{rate / peak:.0%}"]
        yield "| " + " | ".join(cells) + " |"


def flags():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith(("model name", "flags")):
            key, value = line.split(":", 1)
            wanted = [f for f in value.split() if f in ("avx", "avx2", "fma", "avx512f", "avx512vl")]
            yield value.strip() if key.startswith("model") else " ".join(wanted)
            if key.startswith("flags"):
                return


def profile(ours, model, folder):
    """Where our time goes: what a run takes, and its dearest kernels."""
    command = ["taskset", "-c", "0", str(ours)] if os.path.exists("/usr/bin/taskset") else [str(ours)]
    environment = {**os.environ, "POCL_MAX_PTHREAD_COUNT": "1"}
    done = subprocess.run([*command, "--profile", str(model), str(folder)], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, type=pathlib.Path)
    parser.add_argument("--rten", type=pathlib.Path)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/orion/bench")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("models", nargs="*", default=[*GFLOP, CHAIN[0]])
    args = parser.parse_args()
    networks = [name for name in args.models]
    subprocess.run([sys.executable, HERE / "models.py", args.cache, *networks], check=True)
    price = chain = None
    peak = Candidate("peak", [args.ours, "--peak"])
    rows, profiles = [], []
    for name in networks:
        model, folder = args.cache / f"{name}.onnx", inputs(args.cache, name)
        candidates = [Candidate("ours", [args.ours, model, folder])]
        if name == "gemm-1024":
            candidates.append(Candidate("fast", [args.ours, "--fast", model, folder]))
        candidates.append(Candidate("onnxruntime", [sys.executable, HERE / "ort.py", model, folder]))
        if args.rten:
            candidates.append(Candidate("rten", [args.rten, model, folder]))
        if name.startswith("gemm-"):
            core = {"OPENBLAS_CORETYPE": "SkylakeX" if "avx512f" in " ".join(flags()) else "Haswell"}
            candidates.append(Candidate("OpenBLAS", [sys.executable, HERE / "blas.py", name.split("-")[1]], core))
        # GFLOP/s: what the processor does now, under whatever else it does.
        before = peak.run()
        best = measure(candidates, args.rounds)
        if name == CHAIN[0]:
            chain = {who: ms * 1e3 / CHAIN[1] for who, ms in best.items()}
        else:
            rows.append((name, best, max(before, peak.run())))
        if "fast" in best:
            price = exact_to_fast(candidates)
        print(name, {k: round(v, 2) for k, v in best.items()}, f"ms; peak {before:.0f} GFLOP/s", flush=True)
        for candidate in candidates:
            candidate.close()
        if name in GFLOP:
            profiles += ["", name, *("    " + line for line in profile(args.ours, model, folder))]
    names = ["ours", "onnxruntime", "rten", "OpenBLAS"]
    lines = ["# The engine beside its peers", "", "Written by `make bench-engine`.", "", f"Processor: {'; '.join(flags())}. One core, one thread, batch 1, best of {args.rounds} rounds of processor time.", "", *table(rows, names)]
    if price is not None:
        words = "the same kernels with contraction and reordering allowed (gemm-1024, median of interleaved runs)"
        lines += ["", f"Exact beside {words}: {price:.3f} of its time."]
    if chain is not None:
        lines += ["", f"A node of {CHAIN[0]} (Softmax of 8 elements): " + ", ".join(f"{who} {us:.1f} us" for who, us in chain.items()) + "."]
    words = "time of each kernel started alone, best of some runs; contractions with their channels, taps, rows of a line, lines, columns, panels"
    lines += ["", "## Where our time goes", "", f"{words[0].upper()}{words[1:]}.", "", "```text", *profiles[1:], "```"]
    print("\n".join(lines))
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
