r"""Functions of tall matrices whose rows are spread over devices, inside of `jax.shard_map`.

Each device holds rows x_i of x. In the factorization devices exchange triangles of n x n numbers
(`_bindings.jax_rows`); of the rules they add up what is a sum over rows (`_bindings.rows`): U^H C
in a derivative of U f(S) V^H, and U^H H V for each direction H in a second one. S, V and norms are
known to be the same on all devices, so that JAX demands no `psum` of the user for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .._bindings.lookup import library_of
from .._bindings.rows import axes_of, over_axes
from .declaration import OPERATIONS

Given = ParamSpec("Given")
Result = TypeVar("Result")


def over_rows(
    fun: Callable[Given, Result], /, *, axis_name: str | tuple[str, ...]
) -> Callable[Given, Result]:
    """The function of a tall matrix whose rows are spread over devices, in `jax.shard_map`.

    Parameters
    ----------
    fun : function of this package
        One of `svd` (with full_matrices=False), `svdvals`, `svd_function`,
        `singular_value_threshold`, `orthogonalize`, `polar`, `pinv`, `low_rank`,
        `singular_projector` (with side="right"), `nuclear_norm`, `spectral_norm`, `ky_fan_norm`,
        `schatten_norm` and `svdvals_sum`.
    axis_name : str or tuple of str
        The axis of the mesh that rows are spread over. Of several axes the first is the slowest, as
        in `jax.sharding.PartitionSpec((first, second))`.

    Returns
    -------
    function
        Takes what `fun` takes, with the rows of this device in place of x (..., m, n): more rows
        than columns. Of what it returns, arrays with as many rows as x, and the columns of `pinv`,
        are those of this device; all else, such as S, Vh and norms, is the same on all devices.

    Raises
    ------
    TypeError, ValueError
        For another `fun`. The function that is returned raises for an x that does not vary over the
        axes, as nothing does with check_vma=False; for one with as few rows on a device as columns;
        and for options that need all rows at once.

    Notes
    -----
    Values, derivatives of every order and modes are those of `fun` for the whole matrix; what
    counts as equal or zero is too. With p devices a factorization gathers p n^2 numbers on each,
    along several axes p_1 n^2, then p_2 n^2. A derivative adds up n^2 numbers, a second one 4 n^2;
    `svdvals` and norms add up none for a gradient and n and 1 for a tangent. Beside these there are
    some single numbers, such as the largest entry. Demmel, Grigori, Hoemmen and Langou (2012),
    Communication-optimal parallel and sequential QR and LU factorizations, section 5.

    Outside of `jax.shard_map` nothing is needed: see docs/many-devices.md.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, spectralgrad as sg
    >>> from jax.sharding import PartitionSpec
    >>> mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> norm = sg.over_rows(sg.nuclear_norm, axis_name="rows")
    >>> of_whole = jax.shard_map(
    ...     norm, mesh=mesh, in_specs=PartitionSpec("rows"), out_specs=PartitionSpec()
    ... )
    >>> x = jnp.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    >>> print(of_whole(x))
    7.0
    """
    name = getattr(fun, "__name__", repr(fun))
    declared = OPERATIONS.get(name)
    if declared is None or declared.function is not fun or declared.over_rows is None:
        able = ", ".join(n for n, entry in OPERATIONS.items() if entry.over_rows is not None)
        raise TypeError(
            f"over_rows: `fun` is {name}; wanted one of {able} of spectralgrad. Others need "
            "all rows at once."
        )
    needed, signature = declared.over_rows, inspect.signature(fun)
    axes = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)
    if not axes or not all(isinstance(axis, str) for axis in axes):
        raise TypeError(f"over_rows: `axis_name` is {axis_name!r}; wanted a name, or several.")

    @wraps(fun)
    def spread(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        for option, value in needed.items():
            if given.arguments[option] != value:
                raise ValueError(
                    f"{name}: `{option}` is {given.arguments[option]!r} inside of over_rows, which "
                    f"needs all rows at once; wanted {value!r}."
                )
        with over_axes(axes):
            _check_rows(given.args[0], name, axes)
            for option, value in list(given.arguments.items())[1:]:
                _check_shared(value, name, option)
            return fun(*args, **kwargs)

    return spread


def _check_rows(x: Any, name: str, axes: tuple[str, ...]) -> None:
    if axes_of(x) != axes:
        kind = "array of JAX" if library_of(x).autodiff else type(x).__name__
        raise ValueError(
            f"{name}: argument `x` inside of over_rows is an {kind} that is not known to vary over "
            f"{axes}; wanted the rows of each device, as jax.shard_map hands them to its function "
            "with these axes in in_specs and with check_vma=True. Call the function itself for an "
            "array that is whole."
        )
    if getattr(x, "ndim", 0) > 1 and not x.shape[-2] > x.shape[-1]:
        raise ValueError(
            f"{name}: argument `x` inside of over_rows has shape {tuple(x.shape)} on each device; "
            "wanted more rows than columns there. Spread the rows over fewer devices, or call the "
            "function on the sharded array outside of jax.shard_map."
        )


def _check_shared(value: Any, name: str, option: str) -> None:
    """Refuse a parameter, or a scalar function with one, that devices have apart."""
    inner = vars(value).values() if hasattr(value, "with_parameters") else ()
    for part in inner:
        _check_shared(part, name, option)
    if axes_of(value):
        raise ValueError(
            f"{name}: argument `{option}` inside of over_rows varies over {axes_of(value)}, but "
            "all rows are of one matrix; wanted a number, or an array that these devices share. "
            "Sum it up with jax.lax.psum, or hand it over with an empty PartitionSpec."
        )
