"""``python -m benchmarks``: measure every case, then print and write what came out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from . import report
from .cases import GROUPS, families
from .memory import peak
from .timing import time_pair

REPEATS = {"everyday": 15, "truncated": 3}
WARMUP = {"everyday": 2, "truncated": 0}  # whose cases run once to see their errors
FILES = {
    "everyday": ("results.json", "ratios.png"),
    "truncated": ("truncated.json", "truncated.png"),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--group",
        choices=tuple(GROUPS),
        default="everyday",
        help="truncated: truncated SVDs, half an hour",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="default: 512 1024")
    parser.add_argument("--repeats", type=int, default=None, help="pairs a case, default 15 or 3")
    parser.add_argument("--quick", action="store_true", help="size 128 and 5 pairs: does it run?")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or ([128] if arguments.quick else [512, 1024])
    usual = REPEATS[arguments.group]
    arguments.repeats = arguments.repeats or (min(5, usual) if arguments.quick else usual)
    return arguments


def progress(row: dict[str, Any]) -> str:
    name = "{library}, {name}, {size}, against {against}".format_map(row)
    return f"{name}: {row['ratio']:.2f}, of processor times {row['cpu_ratio']:.2f}"


def main() -> None:
    arguments = parse_arguments()
    console = Console(width=max(Console().width, 240), highlight=False)
    found, skipped = families(arguments.group, arguments.device)
    warmup = WARMUP[arguments.group]
    for library in skipped:
        console.print(f"skipped {library}: not installed")
    rows = []
    for family in found:
        for case in family(arguments.sizes, arguments.device):
            timing = time_pair(case, repeats=arguments.repeats, warmup=warmup)
            peaks = tuple(peak(call, arguments.device) for call in (case.ours, case.theirs))
            rows.append(report.row(case, timing, peaks))
            console.print(progress(rows[-1]))
    machine = report.environment(arguments.device)
    console.print(report.table(rows))
    console.print(report.describe(machine))
    arguments.output.mkdir(parents=True, exist_ok=True)
    data, plot = FILES[arguments.group]
    report.write_json(arguments.output / data, rows, machine, skipped)
    report.write_plot(arguments.output / plot, rows, machine)
    console.print(f"wrote {arguments.output}/{data} and {plot}")


if __name__ == "__main__":
    main()
