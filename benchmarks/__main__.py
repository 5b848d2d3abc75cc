"""``python -m benchmarks``: measure every case, then print and write what came out."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from . import report
from .cases import families
from .memory import peak
from .timing import time_pair


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="default: 512 1024")
    parser.add_argument("--repeats", type=int, default=None, help="pairs a case, default 15")
    parser.add_argument("--quick", action="store_true", help="size 128 and 5 pairs: does it run?")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or ([128] if arguments.quick else [512, 1024])
    arguments.repeats = arguments.repeats or (5 if arguments.quick else 15)
    return arguments


def main() -> None:
    arguments = parse_arguments()
    console = Console(width=max(Console().width, 160), highlight=False)
    found, skipped = families(arguments.device)
    for library in skipped:
        console.print(f"skipped {library}: not installed")
    rows = []
    for family in found:
        for case in family(arguments.sizes, arguments.device):
            timing = time_pair(case, repeats=arguments.repeats)
            peaks = tuple(peak(call, arguments.device) for call in (case.ours, case.theirs))
            rows.append(report.row(case, timing, peaks))
            console.print(f"{case.library}, {case.name}, {case.size}: {rows[-1]['ratio']:.2f}")
    machine = report.environment(arguments.device)
    console.print(report.table(rows))
    console.print(report.describe(machine))
    arguments.output.mkdir(parents=True, exist_ok=True)
    report.write_json(arguments.output / "results.json", rows, machine, skipped)
    report.write_plot(arguments.output / "ratios.png", rows, machine)
    console.print(f"wrote {arguments.output}/results.json and ratios.png")


if __name__ == "__main__":
    main()
