"""References of both orders for sums over the spectrum, projectors and functions with parameters.

As `generate.py`, whose differences in 90 digits these are: each case has a gradient and a product.

    python generate_functions.py --output functions.json
"""

import argparse
import json
from pathlib import Path

import generate
import numpy as np
from generate import Operation, encode, exact_unitary, gaussian, gradient, second_product, unitary
from mpmath import mp

SPECTRA = {
    "spread": (3.0, 2.0, 1.2, 0.5),
    "pair": (2.0, 2.0, 1.2, 0.5),
    "gap1e-8": (2.0 + 1e-8, 2.0, 1.2, 0.5),
    "exact-pairs": (2.0, 2.0, 0.5, 0.5),
    "exact-zeros": (2.0, 2.0, 0.0, 0.0),
    "exact-indefinite": (2.0, 2.0, -0.5, -1.5),
}
POSITIVE = ("spread", "pair", "gap1e-8", "exact-pairs")
SINGULAR = (*POSITIVE, "exact-zeros")
ANY = (*SINGULAR, "exact-indefinite")


def as_matrix(value):
    return mp.matrix([[value]])


def of_singular(f):
    def evaluate(matrix, **params):
        U, S, Vh = mp.svd(matrix, full_matrices=False)
        return U * mp.diag([f(s, **params) for s in S]) * Vh

    return evaluate


def of_eigen(f):
    def evaluate(matrix, **params):
        w, Q = mp.eigh((matrix + matrix.H) / 2)
        return Q * mp.diag([f(v, **params) for v in w]) * Q.H

    return evaluate


def sum_of_singular(f):
    def evaluate(matrix, **params):
        S = mp.svd(matrix, compute_uv=False)
        return as_matrix(mp.fsum(f(s, **params) for s in S))

    return evaluate


def sum_of_eigen(f):
    def evaluate(matrix, **params):
        w = mp.eigh((matrix + matrix.H) / 2, eigvals_only=True)
        return as_matrix(mp.fsum(f(v, **params) for v in w))

    return evaluate


def entropy(s):
    return -s * mp.log(s)


def fermi(s, mu, beta):
    return 1 / (mp.exp(beta * (s - mu)) + 1)


def step(s, at):
    return mp.mpf(s > at)


def positive_part(s):
    return s if s > 0 else mp.mpf(0)


def power(s, p, cutoff=None):
    """Of the modulus where p is whole, for eigenvalues of either sign."""
    if cutoff is not None and not s > cutoff:
        return mp.mpf(0)
    return s ** int(p) if p == int(p) else s ** mp.mpf(p)


def sum_of_largest(matrix, k):
    w = sorted(mp.eigh((matrix + matrix.H) / 2, eigvals_only=True))
    return as_matrix(mp.fsum(w[-k:]))


def eigenprojector(matrix, k):
    w, Q = mp.eigh((matrix + matrix.H) / 2)
    columns = sorted(range(len(w)), key=lambda i: w[i])[-k:]
    kept = mp.matrix(Q.rows, k)
    for j, i in enumerate(columns):
        kept[:, j] = Q[:, i]
    return kept * kept.H


# name: (Operation, its spectra)
HERMITIAN = {
    "eigvalsh_sum:log": (sum_of_eigen(mp.log), POSITIVE, {}),
    "eigvalsh_sum:sqrt": (sum_of_eigen(mp.sqrt), POSITIVE, {}),
    "eigvalsh_sum:entropy": (sum_of_eigen(entropy), POSITIVE, {}),
    "eigvalsh_sum:exp": (sum_of_eigen(mp.exp), ANY, {}),
    "eigvalsh_sum:power": (sum_of_eigen(power), SINGULAR, {"p": 3}),
    "eigvalsh_sum:fermi": (sum_of_eigen(fermi), ANY, {"mu": 0.75, "beta": 4.0}),
    "eigh_function:entropy": (of_eigen(entropy), POSITIVE, {}),
    "eigh_function:fermi": (of_eigen(fermi), ANY, {"mu": 0.75, "beta": 4.0}),
    "eigh_function:step": (of_eigen(step), ANY, {"at": 1.0}),
    "eigh_function:positive_part": (of_eigen(positive_part), ("spread", "exact-indefinite"), {}),
    "eigh_function:power": (of_eigen(power), SINGULAR, {"p": -0.5, "cutoff": 0.25}),
    "eigenprojector": (eigenprojector, ("spread", "pair", "gap1e-8", "exact-pairs"), {"k": 2}),
    "sum_largest_eigvalsh": (sum_of_largest, ANY, {"k": 2}),
}
RECTANGULAR = {
    "svdvals_sum:log": (sum_of_singular(mp.log), POSITIVE, {}),
    "svdvals_sum:entropy": (sum_of_singular(entropy), POSITIVE, {}),
    "svdvals_sum:power": (sum_of_singular(power), POSITIVE, {"p": 2.5}),
    "svdvals_sum:quartic": (sum_of_singular(power), SINGULAR, {"p": 4}),
    "svd_function:entropy": (of_singular(entropy), POSITIVE, {}),
    "svd_function:step": (of_singular(step), SINGULAR, {"at": 1.0}),
    "svd_function:power": (of_singular(power), SINGULAR, {"p": -1, "cutoff": 0.25}),
}


def matrix_of(rng, spectrum, shape, is_complex, hermitian):
    values = np.array(SPECTRA[spectrum])
    draw = exact_unitary if spectrum.startswith("exact") else unitary
    U = draw(rng, shape[0], is_complex)[:, :4]
    if hermitian:
        x = (U * values) @ U.conj().T
        return (x + x.conj().T) / 2
    return (U * values) @ draw(rng, shape[1], is_complex)[:4]


def make(seed):
    rng, cases = np.random.default_rng(seed), []
    for table, hermitian in ((HERMITIAN, True), (RECTANGULAR, False)):
        for name, (evaluate, spectra, params) in table.items():
            generate.OPERATIONS[name] = Operation(evaluate, spectra, params)
            for i, spectrum in enumerate(spectra):
                is_complex = bool((i + len(name)) % 2)
                shape = (4, 4) if hermitian else ((4, 4), (5, 4), (4, 5))[i % 3]
                x = matrix_of(rng, spectrum, shape, is_complex, hermitian)
                scalar = "sum" in name
                out_shape = (1, 1) if scalar else shape
                C = gaussian(rng, out_shape, is_complex and not scalar)
                D = gaussian(rng, shape, is_complex)
                field = "c" if is_complex else "r"
                cases.append(
                    {
                        "id": f"{name}-{shape[0]}x{shape[1]}{field}-{spectrum}",
                        "op": name,
                        "params": params,
                        "matrix": encode(x),
                        "cotangent": encode(C),
                        "gradient": encode(gradient(name, params, x, C)),
                        "direction": encode(D),
                        "product": encode(second_product(name, params, x, C, D)),
                    }
                )
    return cases


def main():
    parser = argparse.ArgumentParser(description="Make references for sums and functions.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = make(options.seed)
    about = f"{generate.ABOUT}; {generate.ABOUT_SECOND}"
    options.output.write_text(json.dumps({"about": about, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
