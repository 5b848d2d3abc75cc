"""Dask graphs in passes over the blocks, none of which is kept from one pass to the next.

A tall matrix is needed before a reduction of all its blocks and after it: blocks for R, which gives
S and V, and again for U; U for the n x n sums of a derivative, and again for the gradient. Dask
makes each block once and keeps it until its last use, so all of them are in memory, or on disk.

Here tasks are of two kinds by how many of the same name there are in a row or a column: *tall*, one
for each block, and *narrow*, the few that join many blocks. A narrow task is known after as many
passes as there are turns from tall to narrow on the way to it. A tall task is made anew in each
pass that uses it, and what a pass makes of one block is one task, which waits for the end of the
pass before: Dask might otherwise begin early, and with the same step of all blocks. So the graph
has a few tasks for each block and pass.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

FEWER = 2  # a name with as many times fewer blocks than others have is narrow
CUT = 4  # tasks of one name that may be about one block


def _name(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


def _lengths(keys: Iterable[Any]) -> dict[Any, int]:
    """How many blocks there are of each name along the axis with the most."""
    places: dict[Any, list[set[Any]]] = {}
    for key in keys:
        index = key[1:] if isinstance(key, tuple) else ()
        along = places.setdefault(_name(key), [set() for _ in index])
        for seen, i in zip(along, index, strict=False):
            seen.add(i)
    return {name: max(map(len, along), default=1) for name, along in places.items()}


@dataclass(frozen=True)
class _Block:
    """What one pass makes of one block: the values under some of the keys of its tasks."""

    tasks: tuple[Any, ...]
    given: tuple[Any, ...]
    shown: tuple[Any, ...]

    def __call__(self, *values: Any) -> dict[Any, Any]:
        known = dict(zip(self.given, values, strict=False))
        left = Counter(d for task in self.tasks for d in task.dependencies)
        left.update(self.shown)
        for task in self.tasks:
            known[task.key] = task({d: known[d] for d in task.dependencies})
            left.subtract(task.dependencies)
            for d in task.dependencies:
                if left[d] == 0:
                    del known[d]
        return {key: known[key] for key in self.shown}


class _Passes:
    """The tasks of a graph, tall or narrow, and the passes in which each is needed."""

    def __init__(self, graph: dict[Any, Any], wanted: set[Any]) -> None:
        from dask.core import toposort

        self.graph, self.wanted = graph, wanted
        # of data in a cluster there are keys that are in no graph
        self.before = {
            key: [d for d in task.dependencies if d in graph and d != key]
            for key, task in graph.items()
        }
        self.order = toposort(graph, dependencies={k: set(d) for k, d in self.before.items()})
        self.token = uuid.uuid4().hex  # the same names may be in use, for tasks that are others
        lengths = _lengths(graph)
        most = max(lengths.values(), default=0)
        self.tall = {
            key
            for key, task in graph.items()
            if lengths[_name(key)] * FEWER > most and not _is_data(task)
        }
        self.known: dict[Any, int] = {}  # passes before a task can be begun
        self.joined: dict[Any, int] = {}  # by narrow tasks, the pass whose tall tasks these join
        for key in self.order:
            self._place(key)
        self.needed = self._needed()

    def _before(self, key: Any, *, tall: bool) -> list[Any]:
        return [d for d in self.before[key] if (d in self.tall) == tall]

    def _place(self, key: Any) -> None:
        tall = [self.known[d] for d in self._before(key, tall=True)]
        narrow = [self.known[d] for d in self._before(key, tall=False)]
        if key in self.tall:
            self.known[key] = max([0, *tall, *narrow])
            return
        self.joined[key] = max([-1, *tall])
        self.known[key] = max([self.joined[key] + 1, *narrow])

    def _needed(self) -> dict[Any, set[int]]:
        needed: dict[Any, set[int]] = {key: set() for key in self.tall}
        for key in reversed(self.order):
            if key in self.wanted and key in self.tall:
                needed[key].add(self.known[key])
            passes = needed[key] if key in self.tall else {self.joined[key]}
            for d in self._before(key, tall=True):
                needed[d] |= passes
        return needed

    def tasks(self) -> Iterator[Any]:
        """Those of all passes, and of each pass one that waits for its end."""
        from dask._task_spec import Task, TaskRef

        shown: dict[int, set[Any]] = {}
        ends: dict[int, list[Any]] = {}
        for key in self.order:
            if key in self.tall:
                if key in self.wanted:
                    shown.setdefault(self.known[key], set()).add(key)
                continue
            before, number = self._before(key, tall=True), self.joined[key]
            shown.setdefault(number, set()).update(before)
            yield self._alone(key, number, [])
            ends.setdefault(self.known[key], []).append(TaskRef(self._key(key, number)))
        for number, narrow in ends.items():
            yield Task(self._end(number), _nothing, *narrow)
        for number in sorted(set().union(*self.needed.values())):
            for keys in self._components(number):
                yield from self._of_block(number, keys, shown[number])

    def _components(self, number: int) -> Iterable[list[Any]]:
        """The tall tasks of a pass, in order, by what hangs together."""
        root: dict[Any, Any] = {}

        def find(key: Any) -> Any:
            while root[key] != key:
                root[key] = key = root[root[key]]
            return key

        for key in self.order:
            if key in self.tall and number in self.needed[key]:
                root[key] = key
                for d in self._before(key, tall=True):
                    root[find(d)] = find(key)
        found: dict[Any, list[Any]] = {}
        for key in root:
            found.setdefault(find(key), []).append(key)
        return found.values()

    def _of_block(self, number: int, keys: list[Any], shown: set[Any]) -> Iterator[Any]:
        from dask._task_spec import Task, TaskRef

        gate = [TaskRef(self._end(number))] if number else []
        if max(Counter(map(_name, keys)).values()) > CUT:  # several blocks that are cut anew
            for key in keys:
                yield self._alone(key, number, gate)
            return
        own, tasks = set(keys), tuple(self.graph[key] for key in keys)
        given = tuple(dict.fromkeys(d for t in tasks for d in t.dependencies if d not in own))
        out = tuple(key for key in keys if key in shown)
        index = out[0][1:] if isinstance(out[0], tuple) else ()
        name = f"block-{_name(out[0])}-{self.token}-{number}", *index
        refs = (TaskRef(self._key(d, number)) for d in given)
        yield Task(name, _Block(tasks, given, out), *refs, *gate)
        for key in out:
            yield Task(self._key(key, number), _item, TaskRef(name), key)

    def _alone(self, key: Any, number: int, gate: list[Any]) -> Any:
        from dask._task_spec import Task

        names = {d: self._key(d, number) for d in self.before[key]}
        other = self._key(key, number)
        task = self.graph[key].substitute(names, key=other)
        started = key in self.tall and not self._before(key, tall=True)
        return Task(other, _first, task, *gate) if started else task

    def _end(self, number: int) -> str:
        return f"end-of-pass-{self.token}-{number}"

    def _key(self, key: Any, number: int) -> Any:
        """That of a task in a pass; what is asked for keeps its name."""
        if key not in self.graph:
            return key
        number = number if key in self.tall else self.known[key]
        if key in self.wanted and number == self.known[key]:
            return key
        name = f"{_name(key)}-{self.token}-{number}"
        return (name, *key[1:]) if isinstance(key, tuple) else name


def _is_data(task: Any) -> bool:
    from dask._task_spec import Task

    return not task.dependencies and not isinstance(task, Task)


def _nothing(*_: Any) -> None:
    return None


def _first(value: Any, *_: Any) -> Any:
    return value


def _item(values: dict[Any, Any], key: Any) -> Any:
    return values[key]


def optimize(graph: Any, keys: Any, **options: Any) -> Any:
    """As Dask's own of arrays, then in passes."""
    from dask._task_spec import convert_legacy_graph
    from dask.array.optimization import optimize as of_arrays
    from dask.core import flatten
    from dask.utils import ensure_dict

    wanted = set(flatten([keys]))
    own = convert_legacy_graph(ensure_dict(of_arrays(graph, list(wanted), **options)))
    return {task.key: task for task in _Passes(own, wanted).tasks()}


@contextmanager
def in_passes() -> Iterator[None]:
    """A context in which Dask makes the blocks of a tall matrix anew in each pass over them.

    What `dask.compute`, `store` or `to_zarr` find within is the same, and takes the memory of as
    many blocks as there are threads. Without it Dask keeps each block that is needed again: an
    SVD's U and its gradient need several times the memory of the matrix, or as much of the disk
    that a cluster spills to.

    Raises
    ------
    ImportError
        Without Dask.

    Notes
    -----
    For a matrix that does not fit in memory and whose blocks are read or made from little, in rows,
    or in columns if it is wide. Everything that blocks are made of is computed again: do
    not use it for what was expensive to make, or `persist` that first. The loss of U of an SVD and
    its gradient take three passes. Results that are asked for stay in memory, as ever: sum them
    up, or store them block by block.
    """
    import dask

    with dask.config.set(array_optimize=optimize):
        yield
