"""What the binding of an array library has to offer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .array import Array, Arrays


class Library(Protocol):
    """What a binding has to offer."""

    autodiff: bool  # whether the library differentiates what it is given
    blocks: bool  # whether its arrays are made of blocks
    hermitian: dict[str, bool]  # what tells its `linalg.eigh` that a matrix is Hermitian

    def apply(self, call: Any, arrays: Arrays) -> Arrays:
        """The outputs of a call, in a way that the library can differentiate if it has autodiff.

        A call has `forward`, `jvp` and `vjp`, which take and return tuples of arrays.
        """
        ...

    def computing(self, x: Array) -> AbstractContextManager[Any]:
        """What holds while something is computed from x.

        Nothing is said about NaN and Inf, which rules make on purpose, and no precision is lowered.
        """
        ...

    def values(self, x: Any) -> Any:
        """x outside of every derivative, or None where its values cannot be read."""
        ...

    def unmapped(self, x: Array, insist: bool) -> Any:
        """x on the host, with the axes in front that a vmap hides, or x itself where it hides none.

        What is on a device stays there unless a caller insists.
        """
        ...

    def is_on_host(self, x: Array) -> bool:
        """Whether x is in the memory of the CPU, so that its values can be read without waiting."""
        ...

    def truth(self, flag: Array) -> bool | None:
        """What a 0-d boolean array says, or None where nobody can know."""
        ...

    def call_later(self, function: Callable[..., None], arrays: Arrays) -> None:
        """Calls function(*arrays) once the program runs that is traced now, if there is one."""
        ...

    def is_differentiated(self, x: Array) -> bool:
        """Whether the library may ask for a derivative of what is computed from x."""
        ...

    def sees_context(self) -> bool:
        """Whether context variables and closures can be read: not while PyTorch's Dynamo traces."""
        ...

    def can_loop(self, x: Array) -> bool:
        """Whether a loop over arrays like x can end when their values say so."""
        ...

    def fuses(self, x: Array) -> bool:
        """Whether a long row of elementwise steps on arrays like x costs little but arithmetic."""
        ...

    def is_compiled(self, x: Array) -> bool:
        """Whether a compiler is at work that takes an opaque operation for a long row of steps."""
        ...

    def exact_one(self, x: Array) -> Array | None:
        """Ones like x that keep a compiler from contracting a product with a sum, if one would."""
        ...

    def after(self, y: Array, batch: int, arrays: Arrays) -> Arrays:
        """The arrays, with `batch` axes in front as y, which a program looks at once it has y."""
        ...

    def each(
        self, function: Callable[..., Arrays], cores: tuple[tuple[int, ...], ...], *arrays: Array
    ) -> Arrays:
        """function(*stacks of matrices), whose results have those shapes for a batch element."""
        ...

    def stepped(self, body: Callable[..., Any], state: Arrays, count: int) -> Arrays:
        """state = body(i, *state) for i in range(count)."""
        ...

    def written(self, x: Array, part: Array, row: Any, column: Any) -> Array:
        """x with a part at this place, in the memory of x where a library can."""
        ...

    def used(self, x: Array, count: Any) -> Array:
        """The first rows of x, as many as are not zero, or all where the count is no number yet."""
        ...

    def rows_at(self, x: Array, start: Any, count: int) -> Array:
        """As many rows of x."""
        ...

    def as_one(self, function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
        """function(*arrays), in one program where the library compiles."""
        ...

    def one_by_one(self, function: Callable[..., Arrays], arrays: Arrays) -> Arrays:
        """function(one of each array), for arrays with one axis in front, as results have it."""
        ...

    def is_blocked(self, x: Array) -> bool:
        """Whether x is one matrix in several blocks."""
        ...

    def qr(self, x: Array) -> Arrays:
        """Q and R, thin, of x of full rank with at least as many rows as columns."""
        ...

    def adjoint_times(self, U: Array, B: Array) -> Array:
        """U^H B."""
        ...

    def sum_over_rows(self, body: Callable[..., Array], arrays: Arrays) -> Array:
        """The sum of body(rows of each array), for arrays (..., k, n) and slices of their rows."""
        ...

    def loop(
        self, cond: Callable[..., Any], body: Callable[..., Any], state: Any, most: int, traced: int
    ) -> Any:
        """state = body(state) while cond(state), at most `most` times.

        Where no value can be read the body runs `traced` times.
        """
        ...


class AutodiffLibrary(Library, Protocol):
    """What a binding to a library with autodiff has to offer besides."""

    def vjp(self, fun: Callable[..., Any], *primals: Array) -> tuple[Any, Callable[..., Any]]: ...

    def jvp(self, fun: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]: ...

    def pushforward(self, f: Callable[..., Any], primals: Arrays, tangents: Arrays) -> Any:
        """The derivative of f along tangents."""
        ...

    def derivative(self, f: Callable[[Array], Array], s: Array) -> Array:
        """The derivative of an elementwise f."""
        ...

    def opaque(self, name: str, x: Array) -> Arrays:
        """The factors of a stack of tiny matrices, by that function of `factorizations`."""
        ...

    def flatten(self, tree: Any) -> tuple[list[Any], Callable[[Any], Any]] | None:
        """The leaves of a tree of arrays, and what makes the tree of others; None: takes none."""
        ...

    def captures_derivative(self, f: Callable[..., Any], *probes: Array) -> bool:
        """Whether f(*probes) has a derivative by something else than these."""
        ...


class BlockLibrary(Library, Protocol):
    """What the binding to a library with arrays in blocks has to offer besides."""

    def in_blocks(
        self, function: Callable[..., Arrays], batch: int, arrays: Arrays
    ) -> Arrays | None:
        """function(*arrays) by blocks of a stack with so many axes; None for other arrays."""
        ...

    def blocked_svd(self, x: Array) -> Arrays:
        """The thin SVD of one matrix in several blocks; NaN where one holds a NaN or an Inf."""
        ...


class SparseLibrary(Protocol):
    """What the binding to a library with sparse matrices has to offer besides."""

    def parts(self, A: Any) -> tuple[Array, Array, Array]:
        """Values, rows and columns, of one entry for each place."""
        ...

    def sparse_matrix(self, values: Array, rows: Array, cols: Array, shape: Any) -> Any: ...

    def sparse_product(
        self, values: Array, rows: Array, cols: Array, shape: Any
    ) -> Callable[[Array], Array]:
        """X -> A X."""
        ...
