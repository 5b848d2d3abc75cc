"""Results as rows, and the rows as a table, a JSON file and a plot."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator
from rich import box
from rich.table import Table
from threadpoolctl import threadpool_info

from .timing import Case, Timing

PACKAGES = ("spectralgrad", "numpy", "torch", "jax", "cupy", "array_api_compat")
COLORS = {"met": "#0072B2", "missed": "#D55E00", "no target": "#999999"}


def row(case: Case, timing: Timing, peaks: tuple[float | None, ...]) -> dict[str, Any]:
    """All that is reported of one case."""
    summary = timing.summary()
    verdict = "no target"
    if case.target is not None:
        verdict = "met" if summary["ratio"] <= case.target else "missed"
    return {
        "name": case.name,
        "library": case.library,
        "size": case.size,
        "against": case.against,
        **summary,
        "target": case.target,
        "verdict": verdict,
        "errors": case.errors,
        "orthogonality": case.orthogonality,
        "peak_MiB": peaks,
        "ours_s": timing.ours,
        "theirs_s": timing.theirs,
        "ours_cpu_s": timing.ours_cpu,
        "theirs_cpu_s": timing.theirs_cpu,
    }


def environment(device: str) -> dict[str, Any]:
    """Versions of what was imported, the machine, and the threads that each library would use."""
    pools = [
        {key: pool.get(key) for key in ("user_api", "internal_api", "version", "num_threads")}
        for pool in threadpool_info()
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": device,
        "versions": {p: sys.modules[p].__version__ for p in PACKAGES if p in sys.modules},
        "threads": pools,
    }


def cpu_model() -> str:
    """The processor's name. Linux tells it in a file alone, and `platform` at times nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = ", ".join(f"{p['internal_api']} {p['num_threads']}" for p in machine["threads"])
    return (
        f"{machine['date']}\npython {machine['python']}, {versions}\n"
        f"{machine['cpu']}, {machine['system']}, device {machine['device']}\n"
        f"{machine['cpus']} cores to use, load {machine['load']}; threads: {threads}"
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    caption = (
        "Medians of samples taken in turn; ratio = ours / theirs, pair by pair; cpu: the same of "
        "processor times."
    )
    result = Table(box=box.SIMPLE, caption=caption)
    for column in ("case", "library", "size", "against"):
        result.add_column(column, no_wrap=True)
    for column in ("ours, ms", "theirs, ms", "ratio", "min", "max", "cpu", "target"):
        result.add_column(column, justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    result.add_column("errors", no_wrap=True)
    result.add_column("U^H U - I", no_wrap=True)
    result.add_column("peak, MiB", justify="right", no_wrap=True)
    for r in rows:
        result.add_row(
            *(r[key] for key in ("name", "library", "size", "against")),
            *(f"{r[key]:.3g}" for key in ("ours_ms", "theirs_ms")),
            *(f"{r[key]:.2f}" for key in ("ratio", "ratio_min", "ratio_max", "cpu_ratio")),
            "" if r["target"] is None else f"{r['target']:g}",
            r["verdict"],
            *(_pair(r[key]) for key in ("errors", "orthogonality")),
            "" if None in r["peak_MiB"] else "{:.0f}, {:.0f}".format(*r["peak_MiB"]),
        )
    return result


def _pair(found: tuple[float, ...] | None) -> str:
    return "" if found is None else "{:.0e}, {:.0e}".format(*found)


def write_json(path: Path, rows: list[dict[str, Any]], machine: dict[str, Any], skipped: list[str]):
    path.write_text(json.dumps({**machine, "skipped": skipped, "results": rows}, indent=2) + "\n")


def write_plot(path: Path, rows: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    """A panel for each thing to compare with; bars to the left where ours is the faster."""
    against = list(dict.fromkeys(r["against"] for r in rows))
    groups = [[r for r in rows if r["against"] == other] for other in against]
    figure, panels = plt.subplots(
        len(groups),
        figsize=(10, 1.5 + 0.7 * len(groups) + 0.28 * len(rows)),
        height_ratios=[len(group) for group in groups],
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, other, group in zip(panels[:, 0], against, groups, strict=True):
        _draw(axes, group)
        axes.set_title(f"compared with {other}", loc="left", fontsize="medium", weight="bold")
    panels[-1, 0].set_xlabel("spectralgrad's time / the other's (1: the same; to the left: faster)")
    figure.suptitle(f"Times of spectralgrad\n{machine['cpu']}, {machine['date'][:10]}")
    present = [verdict for verdict in COLORS if any(r["verdict"] == verdict for r in rows)]
    marks = [plt.Rectangle((0, 0), 1, 1, color=COLORS[verdict]) for verdict in present]
    marks.append(plt.Line2D([], [], color="black", marker="|", markersize=12, linestyle=""))
    marks.append(plt.Line2D([], [], color="black", linewidth=1))
    labels = [f"target {word}" if word != "no target" else word for word in present]
    labels += ["target, at most", "least to greatest"]
    figure.legend(marks, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw(axes: Any, rows: list[dict[str, Any]]) -> None:
    for y, r in enumerate(rows):
        axes.barh(y, r["ratio"] - 1, left=1, height=0.6, color=COLORS[r["verdict"]])
        axes.plot([r["ratio_min"], r["ratio_max"]], [y, y], color="black", linewidth=1)
        if r["target"] is not None:
            axes.plot(r["target"], y, marker="|", color="black", markersize=13, markeredgewidth=2)
        axes.annotate(
            f"{r['ratio']:.2g}", (1.01, y), xycoords=("axes fraction", "data"), va="center"
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    names = (r["name"].replace(", forward and backward", "") for r in rows)
    labels = [f"{name}, {r['size']} ({r['library']})" for name, r in zip(names, rows, strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(labelbottom=True)
