"""Tune the term weights of a text search, by the gradient through a truncated SVD.

The documents are the docstrings in Python's own standard library, the terms their words and pairs
of neighbouring words, each of which one or more other documents have too. A_0 is the sparse matrix
of tf-idf counts, documents by terms, its rows of unit length. Latent semantic analysis takes

    A(theta) = A_0 diag(exp(theta)) ~ U diag(S) V^T,    the top RANK triplets

with theta = 0, and for the embedding of a document its row e_i of E = U diag(S). Here theta, one
number for each term, is learned: documents of the same module are to point the same way. With
z_i = e_i/||e_i|| and c_im the mean of z_j over the training documents j != i of module m,

    L(theta) = - mean_i log softmax_m(z_i . c_im / TEMPERATURE) at the module of i

over one half of the documents. The other half is in A_0 too, without its modules, and is what the
accuracy is measured on. L sees inner products of rows of E alone, so signs of singular vectors and
rotations of equal ones leave it as it is. Its cotangent E_bar gives those of the triplets, and the
pullback gives that of A, of which the entries on the pattern of A are all that is needed:

    U_bar = E_bar diag(S),    S_bar_r = sum_i U_ir E_bar_ir,    V_bar = 0
    dL/dtheta_t = sum_i A_bar_it A_it

A_bar is an sg.operators.LowRank, a product of two thin factors: nothing of the size of a dense A
is ever made.

References
----------
Deerwester, Dumais, Furnas, Landauer and Harshman (1990), Indexing by latent semantic analysis: E.
Salton and Buckley (1988), Term-weighting approaches in automatic text retrieval: A_0.
Snell, Swersky and Zemel (2017), Prototypical networks for few-shot learning: the class means in L.
Townsend (2016), Differentiating the singular value decomposition: what the pullback computes.
Kingma and Ba (2015), Adam, a method for stochastic optimization: the steps.
"""

import ast
import math
import os
import re
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

import spectralgrad as sg

RANK = 32
TEMPERATURE = 0.1
FEWEST_WORDS, FEWEST_DOCUMENTS = 5, 20  # of a document, and of a module
NEIGHBOURS = 10
DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Not the library's own, but other people's, written for tests, or a copy of another release.
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}


class Evaluation(NamedTuple):
    """L and its gradient at some theta, the embedding, and the seconds of both directions."""

    loss: float
    gradient: np.ndarray
    embedding: np.ndarray
    forward: float
    backward: float


def docstrings():
    """Pairs of a module's name and the words of a docstring in it; the files are parsed only."""
    library = Path(os.__file__).parent
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if not SKIPPED.isdisjoint(parts):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                # the words within HTTPServer and set_default are words too
                words = re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", f"{node.name} {text}")
                yield parts[0].removesuffix(".py"), [w.lower() for w in words if len(w) > 1]


def read_documents():
    """The documents' modules, and of each document how many times its terms occur."""
    found = [(module, words) for module, words in docstrings() if len(words) >= FEWEST_WORDS]
    sizes = Counter(module for module, _ in found)
    kept = [pair for pair in found if sizes[pair[0]] >= FEWEST_DOCUMENTS]
    counts = [Counter(words + list(map(" ".join, pairwise(words)))) for _, words in kept]
    return [module for module, _ in kept], counts


def tf_idf(counts):
    """The matrix A_0, and the terms that its columns stand for."""
    documents_with = Counter(term for count in counts for term in count)
    terms = sorted(term for term, documents in documents_with.items() if documents > 1)
    columns = {term: column for column, term in enumerate(terms)}
    entries = [
        (row, columns[term], (1 + math.log(n)) * math.log(len(counts) / documents_with[term]))
        for row, count in enumerate(counts)
        for term, n in count.items()
        if term in columns
    ]
    rows, cols, values = map(np.array, zip(*entries, strict=True))
    values /= np.sqrt(np.bincount(rows, values**2))[rows]
    return sparse.csr_array((values, (rows, cols)), shape=(len(counts), len(terms))), terms


def contrast(Z, membership):
    """The loss of directions Z and its cotangent; `membership` is 0 or 1, documents by modules."""
    sums, others = membership.T @ Z, membership.sum(axis=0) - membership
    scores = (Z @ sums.T - membership) / (TEMPERATURE * others)  # without i itself: z_i . z_i = 1
    scores -= scores.max(axis=1, keepdims=True)
    log_shares = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    scores_bar = (np.exp(log_shares) - membership) / len(Z)
    products_bar = scores_bar / (TEMPERATURE * others)
    Z_bar = products_bar @ sums + membership @ (products_bar.T @ Z)
    return -np.sum(membership * log_shares) / len(Z), Z_bar


def make_objective(A_0, train, membership, solver):
    """The function that takes theta to an Evaluation."""
    rows, cols = A_0.tocoo().coords

    def objective(theta):
        A = sparse.csr_array((A_0.data * np.exp(theta)[cols], cols, A_0.indptr), shape=A_0.shape)
        began = time.perf_counter()
        (U, S, _), pullback = sg.vjp(sg.truncated_svd, A, k=RANK, solver=solver)
        forward = time.perf_counter() - began

        E, E_bar = U * S, np.zeros_like(U)
        lengths = np.linalg.norm(E[train], axis=1, keepdims=True)
        Z = E[train] / lengths
        loss, Z_bar = contrast(Z, membership)
        E_bar[train] = (Z_bar - Z * np.sum(Z * Z_bar, axis=1, keepdims=True)) / lengths

        began = time.perf_counter()
        (A_bar,) = pullback((E_bar * S, np.sum(U * E_bar, axis=0), None))
        products = A_bar.at(rows, cols) * A.data
        backward = time.perf_counter() - began
        return Evaluation(loss, np.bincount(cols, products), E, forward, backward)

    return objective


def check_gradient(objective, theta, direction, step=1e-4):
    """Derivatives of L at theta along `direction`: by the gradient, and by a central difference."""
    by_gradient = float(objective(theta).gradient @ direction)
    ahead, behind = (objective(theta + h * direction).loss for h in (step, -step))
    return by_gradient, (ahead - behind) / (2 * step)


def tune(objective, theta, rate, steps):
    """Adam's steps from theta; every evaluation, the last of them at the theta returned."""
    evaluations, mean, square = [objective(theta)], 0.0, 0.0
    loss_column = TextColumn("loss {task.fields[loss]:.3f}")
    with Progress(*Progress.get_default_columns(), loss_column) as progress:
        task = progress.add_task("tuning", total=steps, loss=evaluations[0].loss)
        for step in range(1, steps + 1):
            gradient = evaluations[-1].gradient
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            scale = np.sqrt(square / (1 - 0.999**step)) + 1e-12
            theta = theta - rate * mean / (1 - 0.9**step) / scale
            evaluations.append(objective(theta))
            progress.update(task, advance=1, loss=evaluations[-1].loss)
    return theta, evaluations


def accuracies(rows, labels, train):
    """Shares of the held-out documents that neighbours, and class means, put in their module."""
    cosines = rows[~train] @ rows[train].T
    cosines = cosines.toarray() if sparse.issparse(cosines) else cosines
    member = labels[train][:, None] == np.arange(labels.max() + 1)
    nearest = np.argpartition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    votes = np.einsum("ij,ijm->im", np.take_along_axis(cosines, nearest, axis=1), member[nearest])
    means = cosines @ (member / member.sum(axis=0))
    return [np.mean(scores.argmax(axis=1) == labels[~train]) for scores in (votes, means)]


def halves(labels, rng):
    """A mask of the training half: every other document of each module, in random order."""
    train = np.zeros(len(labels), dtype=bool)
    train[np.lexsort((rng.random(len(labels)), labels))[::2]] = True
    return train


def report_accuracies(embeddings, labels, train):
    print(f"held-out accuracy: {NEIGHBOURS} neighbours, class means")
    for name, rows in embeddings.items():
        lengths = sparse.linalg.norm if sparse.issparse(rows) else np.linalg.norm
        by_neighbours, by_means = accuracies(rows / lengths(rows, axis=1)[:, None], labels, train)
        print(f"  {name:24} {by_neighbours:6.1%} {by_means:6.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="three steps, to see that it runs")
    parser.add_argument("--rate", type=float, default=0.04, help="of Adam's steps")
    parser.add_argument("--solver", choices=["scipy", "krylov"], default="scipy")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    modules, counts = read_documents()
    A_0, terms = tf_idf(counts)
    names, labels = np.unique(modules, return_inverse=True)
    train = halves(labels, rng)
    m, n = A_0.shape
    print(f"matrix: {m} documents of {len(names)} modules x {n} terms, {A_0.nnz} nonzeros")
    membership = np.eye(len(names))[labels[train]]
    objective = make_objective(A_0, train, membership, options.solver)
    theta = np.zeros(n)

    # One thread: more gain little on products as sparse as these, and lose much on a busy machine.
    with threadpool_limits(1):
        by_gradient, by_difference = check_gradient(objective, theta, rng.standard_normal(n))
        print(f"directional derivative: {by_gradient:.9g}, by differences {by_difference:.9g}")
        print(f"relative difference: {abs(by_gradient / by_difference - 1):.1e}")
        began = time.perf_counter()
        steps = 3 if options.quick else options.steps
        theta, evaluations = tune(objective, theta, options.rate, steps)
        seconds = time.perf_counter() - began
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        first, last = evaluations[0], evaluations[-1]
        forward, backward = (np.median([e[i] for e in evaluations]) for i in (3, 4))
        print(f"loss: {first.loss:.6g} at first, {last.loss:.6g} after {steps} steps")
        print(f"time: {seconds:.1f} s; forward {forward:.2f} s, backward {backward:.2f} s, a step")
        print(f"peak memory: {peak:.0f} MiB; the dense matrix has {m * n * 8 / 2**20:.0f} MiB")
        before, after = first.embedding, last.embedding
        report_accuracies({"before": before, "after": after}, labels, train)
        report_accuracies({"A_0": A_0}, labels, train)
    order = np.argsort(theta)
    print("terms raised most:", ", ".join(terms[i] for i in order[:-16:-1]))
    print("terms lowered most:", ", ".join(terms[i] for i in order[:15]))


if __name__ == "__main__":
    main()
