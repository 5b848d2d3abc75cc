"""Reference gradients of matrix functions that owe nothing to any derivative formula.

For an operation F, a matrix A and a cotangent C the loss is L(A) = Re sum(conj(C) * F(A)), and its
gradient G has the entries dL/dRe A_ij + 1j dL/dIm A_ij. Each of them is a central difference

    (L(A + h E) - L(A - h E)) / (2 h),   E = E_ij or 1j E_ij,   h = 1e-40,

of L evaluated in 90 digits. Rounding leaves an error of about 1e-90/h = 1e-50. Truncation leaves
h^2 where L is three times differentiable; where L is only once, such as U log(1 + S) Vh at a
singular value of zero, it leaves h. Ties do no harm: F is evaluated, its factors are never
differentiated.

Second derivatives likewise: for a direction D the product P has the entries of the derivative of G
along D, mixed differences

    (L(A + h D + h E) - L(A + h D - h E) - L(A - h D + h E) + L(A - h D - h E)) / (4 h^2)

with h = 1e-20.

    python generate.py --seed 1 --count 20 --operation pinv low_rank --output more.json
    python generate.py --seed 1 --second --output second.json
    python generate.py --check open.json --every 12
"""

import argparse
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp

DIGITS = 90
STEP = "1e-40"
SECOND_STEP = "1e-20"
ABOUT = (
    "L = Re sum(conj(cotangent) * F(matrix)); gradient[i,j] = dL/dRe A_ij + 1j dL/dIm A_ij, "
    f"from central differences at {DIGITS} digits"
)

ABOUT_SECOND = (
    "L = Re sum(conj(cotangent) * F(matrix)); product = derivative along direction of L's "
    f"gradient, from mixed central differences at {DIGITS} digits"
)


# Operations, of a matrix with singular value decomposition U diag(S) Vh


def on_singular_values(change):
    """U diag(change(S)) Vh, where `change` takes and returns the list S, largest first."""

    def evaluate(matrix, **params):
        U, S, Vh = mp.svd(matrix, full_matrices=False)
        return U * mp.diag(change(list(S), **params)) * Vh

    return evaluate


def odd_function(f):
    return on_singular_values(lambda S: [f(s) for s in S])


orthogonal_factor = odd_function(lambda s: 1)
soft_threshold = on_singular_values(lambda S, tau: [max(s - tau, 0) for s in S])
low_rank = on_singular_values(lambda S, k: S[:k] + [0] * (len(S) - k))


def pinv(matrix):
    """The conjugate transpose of U S^-1 Vh."""
    return odd_function(lambda s: 1 / s)(matrix).H


def nearest_rotation(matrix):
    """U diag(1, .., 1, d) Vh with the sign d that makes the determinant +1."""
    d = mp.sign(mp.det(matrix))
    return on_singular_values(lambda S: [1] * (len(S) - 1) + [d])(matrix)


def left_projector(matrix, k):
    """U_k U_k^H, of the k leading left singular vectors."""
    U, _, _ = mp.svd(matrix, full_matrices=False)
    return U[:, :k] * U[:, :k].H


def norm(of_values):
    """A function of the list S, largest first, as a 1x1 matrix."""

    def evaluate(matrix, **params):
        return mp.matrix([[of_values(list(mp.svd(matrix, compute_uv=False)), **params)]])

    return evaluate


def hermitian_function(f):
    """Q f(Lambda) Q^H of the Hermitian part (A + A^H)/2 = Q Lambda Q^H."""

    def evaluate(matrix):
        values, Q = mp.eigh((matrix + matrix.H) / 2)
        return Q * mp.diag([f(value) for value in values]) * Q.H

    return evaluate


# The spectra for which each operation is generated: it is differentiable there, and float64 can
# reach many digits of its gradient. SPLIT_AFTER_TWO: the second and third values differ.

SPLIT_AFTER_TWO = ("spread", "pair", "gap1e-4", "gap1e-8", "gap1e-12", "graded")
POSITIVE = (*SPLIT_AFTER_TWO, "all_equal")
FULL_RANK = (*POSITIVE, "exact-orthogonal")
WELL_CONDITIONED = tuple(spectrum for spectrum in FULL_RANK if spectrum != "graded")
TRUNCATED = (*SPLIT_AFTER_TWO, "exact-rank-deficient")
NONZERO = (*FULL_RANK, "exact-rank-deficient")
ALL = (*NONZERO, "zero")
SQUARE = ((4, 4),)


class Operation(NamedTuple):
    """F(A) is `evaluate(A, **params)`."""

    evaluate: Callable[..., Any]
    spectra: tuple[str, ...]
    params: dict[str, float]
    shapes: tuple[tuple[int, int], ...] = (*SQUARE, (5, 3), (3, 5))
    fields: str = "rc"
    hermitian: bool = False


OPERATIONS = {
    "spectral:cube": Operation(odd_function(lambda s: s**3), NONZERO, {}),
    "spectral:tanh": Operation(odd_function(mp.tanh), ALL, {}),
    "spectral:expm1": Operation(odd_function(mp.expm1), ALL, {}),
    "spectral:log1p": Operation(odd_function(mp.log1p), ALL, {}),
    "spectral:ratio": Operation(odd_function(lambda s: s / (1 + s)), ALL, {}),
    "orthogonal_factor": Operation(orthogonal_factor, FULL_RANK, {}),
    "pinv": Operation(pinv, WELL_CONDITIONED, {}),
    "soft_threshold": Operation(soft_threshold, TRUNCATED, {"tau": 0.75}),
    "low_rank": Operation(low_rank, TRUNCATED, {"k": 2}),
    "left_projector": Operation(left_projector, TRUNCATED, {"k": 2}),
    "nearest_rotation": Operation(nearest_rotation, SPLIT_AFTER_TWO, {}, SQUARE, fields="r"),
    "nuclear_norm": Operation(norm(sum), FULL_RANK, {}),
    "schatten_norm": Operation(
        norm(lambda S, p: sum(s**p for s in S) ** (1 / mp.mpf(p))), NONZERO, {"p": 3.0}
    ),
    "ky_fan_norm": Operation(norm(lambda S, k: sum(S[:k])), TRUNCATED, {"k": 2}),
} | {
    f"hermitian:{name}": Operation(hermitian_function(f), POSITIVE, {}, SQUARE, hermitian=True)
    for name, f in {"exp": mp.exp, "log": mp.log, "inv_sqrt": lambda x: 1 / mp.sqrt(x)}.items()
}


# Where the second derivative exists, if not wherever the first does: f''(0) = 0 at a zero value.
SECOND = dict.fromkeys(("spectral:expm1", "spectral:log1p", "spectral:ratio"), FULL_RANK)


# Gradients


def loss(evaluate, matrix, cotangent):
    """Re sum(conj(C) * F(A))."""
    return mp.fsum(mp.re(mp.conj(c) * f) for c, f in zip(cotangent, evaluate(matrix), strict=True))


def gradient(operation, params, matrix, cotangent):
    """The gradient of the loss, rounded from 90 digits to float64."""
    with mp.workdps(DIGITS):
        A, C, h = mp.matrix(matrix.tolist()), mp.matrix(cotangent.tolist()), mp.mpf(STEP)

        def evaluate(shifted):
            return OPERATIONS[operation].evaluate(shifted, **params)

        def derivative(i, j, direction):
            ahead, behind = A.copy(), A.copy()
            ahead[i, j] += h * direction
            behind[i, j] -= h * direction
            return (loss(evaluate, ahead, C) - loss(evaluate, behind, C)) / (2 * h)

        result = np.zeros_like(matrix)
        directions = [1, 1j] if np.iscomplexobj(matrix) else [1]
        for (i, j), direction in itertools.product(np.ndindex(matrix.shape), directions):
            result[i, j] += direction * float(derivative(i, j, direction))
        return result


def second_product(operation, params, matrix, cotangent, direction):
    """The derivative along `direction` of the gradient, rounded from 90 digits to float64."""
    with mp.workdps(DIGITS):
        A, C, D = (mp.matrix(part.tolist()) for part in (matrix, cotangent, direction))
        h = mp.mpf(SECOND_STEP)

        def at(i, j, step, sign):
            moved = A + sign * h * D
            moved[i, j] += h * step
            evaluate = partial(OPERATIONS[operation].evaluate, **params)
            return loss(evaluate, moved, C)

        result = np.zeros_like(matrix)
        units = [1, 1j] if np.iscomplexobj(matrix) else [1]
        for (i, j), unit in itertools.product(np.ndindex(matrix.shape), units):
            ahead = at(i, j, unit, 1) - at(i, j, -unit, 1)
            behind = at(i, j, unit, -1) - at(i, j, -unit, -1)
            result[i, j] += unit * float((ahead - behind) / (4 * h * h))
        return result


# Cases


def gaussian(rng, shape, is_complex):
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if is_complex else real


def unitary(rng, n, is_complex):
    """With random signs, without which every determinant would be the same."""
    Q, _ = np.linalg.qr(gaussian(rng, (n, n), is_complex))
    return Q * rng.choice([-1, 1], n)


def exact_unitary(rng, n, is_complex):
    """Unitary to the last bit: rows permuted, columns times 1, -1, 1j or -1j, from I or, for
    n >= 4, from the reflection I - v v^T/2 with v = (1, 1, 1, 1, 0, ..)."""
    result = np.eye(n)
    if n >= 4:
        result[:4, :4] -= 0.5
    phases = [1, -1, 1j, -1j] if is_complex else [1, -1]
    return rng.permutation(result) * rng.choice(phases, n)


def singular_values(spectrum, n):
    if spectrum == "pair" or spectrum.startswith("gap"):
        gap = float(spectrum.removeprefix("gap")) if spectrum != "pair" else 0
        return np.array([2 + gap, 2, 1.25, 0.5])[:n]
    return {
        "spread": np.linspace(3, 1, n),
        "graded": np.logspace(0, -6, n),
        "all_equal": np.full(n, 1.5),
        "exact-orthogonal": np.ones(n),
        "exact-rank-deficient": np.append([2, 2, 0.5][: n - 1], 0),
        "zero": np.zeros(n),
    }[spectrum]


def random_matrix(rng, spectrum, shape, is_complex, hermitian):
    S = singular_values(spectrum, min(shape))
    draw = exact_unitary if spectrum.startswith("exact") else unitary
    U = draw(rng, shape[0], is_complex)[:, : len(S)]
    if hermitian:
        product = (U * S) @ U.conj().T
        return (product + product.conj().T) / 2
    return (U * S) @ draw(rng, shape[1], is_complex)[: len(S)]


def random_case(rng, number, name, second=False):
    operation = OPERATIONS[name]
    spectra = SECOND.get(name, operation.spectra) if second else operation.spectra
    spectrum, field = str(rng.choice(spectra)), str(rng.choice(list(operation.fields)))
    shape = tuple(rng.choice(operation.shapes).tolist())
    matrix = random_matrix(rng, spectrum, shape, field == "c", operation.hermitian)
    value = operation.evaluate(mp.matrix(matrix.tolist()), **operation.params)
    value_shape = (value.rows, value.cols)
    cotangent = gaussian(rng, value_shape, field == "c" and value_shape != (1, 1))
    suffix = "-psd" if operation.hermitian else ""
    case = {
        "id": f"{number:04d}-{name}-{shape[0]}x{shape[1]}{field}-{spectrum}{suffix}",
        "op": name,
        "params": operation.params,
        "matrix": encode(matrix),
        "cotangent": encode(cotangent),
    }
    if not second:
        return case | {"gradient": encode(gradient(name, operation.params, matrix, cotangent))}
    direction = gaussian(rng, shape, field == "c")
    product = second_product(name, operation.params, matrix, cotangent, direction)
    return case | {"direction": encode(direction), "product": encode(product)}


def encode(array):
    """Nested lists: {"re": ..}, with "im" if complex."""
    parts = {"re": array.real, "im": array.imag} if np.iscomplexobj(array) else {"re": array}
    return {part: values.tolist() for part, values in parts.items()}


def decode(parts):
    real = np.array(parts["re"])
    return real + 1j * np.array(parts["im"]) if "im" in parts else real


def relative_difference(case):
    """Between the gradient that a case states and the one recomputed; absolute if it states 0."""
    matrix, cotangent = decode(case["matrix"]), decode(case["cotangent"])
    if "product" in case:
        stated, direction = decode(case["product"]), decode(case["direction"])
        recomputed = second_product(case["op"], case["params"], matrix, cotangent, direction)
    else:
        stated = decode(case["gradient"])
        recomputed = gradient(case["op"], case["params"], matrix, cotangent)
    return float(np.linalg.norm(recomputed - stated) / (np.linalg.norm(stated) or 1))


# Command line


def generate(seed, count, names, output, second=False):
    rng = np.random.default_rng(seed)
    in_turn = itertools.islice(itertools.cycle(names), count)
    cases = [random_case(rng, number, name, second) for number, name in enumerate(in_turn)]
    about = ABOUT_SECOND if second else ABOUT
    output.write_text(json.dumps({"about": about, "cases": cases}) + "\n")


def check(path, every):
    cases = json.loads(path.read_text())["cases"][::every]
    differences = [relative_difference(case) for case in cases]
    worst = int(np.argmax(differences))  # a NaN counts as the largest
    print(
        f"{len(cases)} cases of {path.name}: worst relative difference {differences[worst]:.1e} "
        f"at {cases[worst]['id']}"
    )


def main():
    parser = argparse.ArgumentParser(description="Make reference gradients, or check a file's.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--output", type=Path, help="write new cases to this file")
    mode.add_argument("--check", type=Path, help="recompute the gradients of this file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=len(OPERATIONS), help="number of new cases")
    parser.add_argument(
        "--operation",
        nargs="+",
        choices=OPERATIONS,
        default=list(OPERATIONS),
        metavar="OP",
        help=f"operations of the new cases, in turn: {', '.join(OPERATIONS)}",
    )
    parser.add_argument("--second", action="store_true", help="second derivatives")
    parser.add_argument("--every", type=int, default=1, help="check every K-th case", metavar="K")
    options = parser.parse_args()
    if options.check:
        check(options.check, options.every)
    else:
        generate(options.seed, options.count, options.operation, options.output, options.second)


if __name__ == "__main__":
    main()
