"""``python -m benchmarks.devices 8``: what programs of JAX for so many devices take and send.

They are compiled for virtual devices of the CPU, and not run.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import time
from collections.abc import Callable
from typing import Any

KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
COLLECTIVE = re.compile(rf"= (.*?) ({KINDS})(?:-start)?\(")
SHAPE = re.compile(r"f64\[([\d,]*)\]")


def measure(function: Callable[..., Any], *kinds: Any) -> str:
    """Seconds to compile, the memory of a device, and what is sent."""
    import jax

    start = time.perf_counter()
    program = jax.jit(function).lower(*kinds).compile()
    seconds, memory = time.perf_counter() - start, program.memory_analysis()
    sent = {"all-gather": 0, "all-reduce": 0}
    for shapes, kind in COLLECTIVE.findall(program.as_text()):
        numbers = (math.prod(map(int, filter(None, s.split(",")))) for s in SHAPE.findall(shapes))
        sent[kind] = sent.get(kind, 0) + 8 * sum(numbers)
    exchanges = ", ".join(f"{kind} {count / 1e3:.0f} kB" for kind, count in sent.items())
    return f"{seconds:.1f} s, {memory.temp_size_in_bytes / 1e6:.1f} MB, {exchanges}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__)
    parser.add_argument("devices", type=int)
    devices: int = parser.parse_args().devices
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"

    import jax
    import numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import spectralgrad as sg

    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((devices,), ("i",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("i"))

    def gradient(x: Any, bar: Any) -> Any:
        return jax.vjp(lambda x: sg.svd_function(x, sg.functions.tanh), x)[1](bar)

    for shape in ((4096 * devices, 32), (4096 * devices, 128), (1024 * devices, 8, 8)):
        kind = jax.ShapeDtypeStruct(shape, np.float64, sharding=spread)
        print(f"{devices} devices, {' x '.join(map(str, shape))}: {measure(gradient, kind, kind)}")


if __name__ == "__main__":
    main()
