"""Fill the table of docs/benchmarks.md from the results of one run.

python docs/site/benchmarks.py [FILE, default benchmarks/results/cpu-2-cores/results.json]
"""

import json
import sys
from pathlib import Path

from tables import fill

ROOT = Path(__file__).parents[2]


def main() -> None:
    run = ROOT / "benchmarks" / "results" / "cpu-2-cores" / "results.json"
    results = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else run).read_text())
    rows = results["results"]
    lines = [
        "| case | size | arrays | ours, ms | ratio | least to greatest |",
        "|---|---|---|---:|---:|---|",
    ]
    for against in dict.fromkeys(row["against"] for row in rows):
        lines.append(f"| **compared with {against}** | | | | | |")
        for row in rows:
            if row["against"] == against:
                name = row["name"].replace(", forward and backward", "")
                spread = f"{row['ratio_min']:.2g} to {row['ratio_max']:.2g}"
                lines.append(
                    f"| {name} | {row['size']} | {row['library']} | {row['ours_ms']:.3g} "
                    f"| {row['ratio']:.2g} | {spread} |"
                )
    page = ROOT / "docs" / "benchmarks.md"
    fill(page, "results", "\n".join(lines))
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    fill(
        page,
        "run",
        f"{results['cpu']}, {results['cpus']} cores, {results['date'][:10]}; {versions}.",
    )


if __name__ == "__main__":
    main()
