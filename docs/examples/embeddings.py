r"""
Text embeddings
===============

The term weights of a text search are tuned by the gradient through a truncated SVD.

Documents are the docstrings of Python's own standard library, terms their words and pairs of
neighbouring words. A_0 is the sparse matrix of tf-idf counts, documents by terms, its rows of unit
length. Latent semantic analysis embeds document i as row e_i of E = U diag(S), for the leading
triplets U, S, V of the matrix. Here they are those of ::

    A(theta) = A_0 diag(exp(theta))

and theta, a number for each term, is learned from the modules that the documents are of. With
z_i the unit vector along e_i, and c_im the mean of z_j over the training documents j of module m
other than i, ::

    L(theta) = - mean_i log softmax_m(z_i . c_im / TEMPERATURE) at the module of i

over one half of the documents. Of the other half, on which the accuracy is measured, the words are
in A_0 and the modules are not used. L is made of inner products of rows of E, so signs of singular
vectors and rotations of equal ones do not change it. From its cotangent E_bar come ::

    U_bar = E_bar diag(S),    S_bar_r = sum_i U_ir E_bar_ir,    dL/dtheta_t = sum_i A_bar_it A_it

where A_bar, the pullback of U_bar and S_bar, is needed on the pattern of A alone. It is an
`sg.operators.LowRank`, two thin factors: nothing of the size of a dense A is ever made.

References: Deerwester, Dumais, Furnas, Landauer and Harshman (1990), Indexing by latent semantic
analysis: E. Salton and Buckley (1988), Term-weighting approaches in automatic text retrieval: A_0.
Snell, Swersky and Zemel (2017), Prototypical networks for few-shot learning: the class means in L.
Townsend (2016), Differentiating the singular value decomposition: what the pullback computes.
Kingma and Ba (2015), Adam, a method for stochastic optimization: the steps.
"""

import argparse
import ast
import math
import os
import re
import resource
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from rich.progress import Progress, TextColumn
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

import spectralgrad as sg

RANK = 32
TEMPERATURE = 0.1
FEWEST_WORDS, FEWEST_DOCUMENTS = 5, 20  # of a document, and of a module
LONGEST = 0.3  # gradient that Adam is given
NEIGHBOURS = 10
DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}


parser = argparse.ArgumentParser(description="Tunes the term weights of a text search.")
parser.add_argument("--steps", type=int, default=15)
parser.add_argument("--quick", action="store_true", help="three steps, to see that it runs")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()


# %%
# The documents
# -------------


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
    """The matrix A_0, of the terms that two or more documents have."""
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
    return sparse.csr_array((values, (rows, cols)), shape=(len(counts), len(terms)))


# %%
# The loss and its gradient
# -------------------------


def contrast(Z, membership):
    """The loss of directions Z and its cotangent; `membership` is 0 or 1, documents by modules."""
    sums, others = membership.T @ Z, membership.sum(axis=0) - membership
    scores = (Z @ sums.T - membership) / (TEMPERATURE * others)  # without i itself: z_i . z_i = 1
    scores -= scores.max(axis=1, keepdims=True)
    log_shares = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    products_bar = (np.exp(log_shares) - membership) / (len(Z) * TEMPERATURE * others)
    Z_bar = products_bar @ sums + membership @ (products_bar.T @ Z)
    return -np.sum(membership * log_shares) / len(Z), Z_bar


def make_objective(A_0, train, membership, adjoint_tol=None):
    """The function that takes theta to L, its gradient, all z_i, and the seconds there and back."""
    rows, cols = A_0.tocoo().coords
    # With 40 nonzeros in a row, ARPACK's products of one vector cost less than blocks and their QR.
    options = {"solver": "scipy", "adjoint_tol": adjoint_tol}

    def objective(theta):
        A = sparse.csr_array((A_0.data * np.exp(theta)[cols], cols, A_0.indptr), shape=A_0.shape)
        began = time.perf_counter()
        (U, S, _), pullback = sg.vjp(sg.truncated_svd, A, k=RANK, **options)
        forward = time.perf_counter() - began

        lengths = linalg.norm(U * S, axis=1, keepdims=True)
        Z = U * S / lengths
        Z_bar = np.zeros_like(Z)
        loss, Z_bar[train] = contrast(Z[train], membership)
        E_bar = (Z_bar - Z * np.sum(Z * Z_bar, axis=1, keepdims=True)) / lengths

        began = time.perf_counter()
        (A_bar,) = pullback((E_bar * S, np.sum(U * E_bar, axis=0), None))
        products = A_bar.at(rows, cols) * A.data
        backward = time.perf_counter() - began
        return loss, np.bincount(cols, products), Z, (forward, backward)

    return objective


def check_gradient(objective, theta, direction, step=3e-6):
    """Print the derivative of L along `direction`, by the gradient and by a central difference."""
    by_gradient = float(objective(theta)[1] @ direction)
    ahead, behind = (objective(theta + h * direction)[0] for h in (step, -step))
    by_difference = (ahead - behind) / (2 * step)
    print(f"directional derivative: {by_gradient:.9g}, by differences {by_difference:.9g}")
    print(f"relative difference: {abs(by_gradient / by_difference - 1):.1e}")
    assert abs(by_gradient / by_difference - 1) < 1e-6


# %%
# The steps, and the accuracy
# ---------------------------


def tune(objective, theta, steps, rate=0.05):
    """What `objective` returned at theta and after each of Adam's steps."""
    evaluations, mean, square = [objective(theta)], 0.0, 0.0
    loss_column = TextColumn("loss {task.fields[loss]:.3f}")
    columns = (*Progress.get_default_columns(), loss_column)
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("tuning", total=steps, loss=evaluations[0][0])
        for step in range(1, steps + 1):
            gradient = evaluations[-1][1]
            # It grows without bound as S[RANK - 1] and the next value meet, where the triplets
            # that are kept change: shortened, lest Adam remember that one for long.
            gradient = gradient * min(1.0, LONGEST / linalg.norm(gradient))
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            scale = np.sqrt(square / (1 - 0.999**step)) + 1e-12
            theta = theta - rate * mean / (1 - 0.9**step) / scale
            evaluations.append(objective(theta))
            progress.update(task, advance=1, loss=evaluations[-1][0])
    return evaluations


def accuracies(name, rows, labels, train):
    """How many held-out documents `rows`, of unit length, put in their module, in two ways."""
    cosines = rows[~train] @ rows[train].T
    cosines = cosines.toarray() if sparse.issparse(cosines) else cosines
    member = labels[train][:, None] == np.arange(labels.max() + 1)
    nearest = np.argpartition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    votes = np.einsum("ij,ijm->im", np.take_along_axis(cosines, nearest, axis=1), member[nearest])
    ways = {
        f"{NEIGHBOURS} neighbours": votes,
        "class means": cosines @ (member / member.sum(axis=0)),
    }
    right = {way: np.mean(s.argmax(axis=1) == labels[~train]) for way, s in ways.items()}
    print(f"held-out accuracy {name}:", ", ".join(f"{p:.1%} by {way}" for way, p in right.items()))
    return right


# %%
# Tuning
# ------
# The gradient is compared with a difference of two losses before it is used.

rng = np.random.default_rng(options.seed)
modules, counts = read_documents()
A_0 = tf_idf(counts)
names, labels = np.unique(modules, return_inverse=True)
(m, n), train = A_0.shape, np.zeros(len(labels), dtype=bool)
train[np.lexsort((rng.random(m), labels))[::2]] = True  # every other one of each module
print(f"matrix: {m} documents of {len(names)} modules x {n} terms, {A_0.nnz} nonzeros")
problem = A_0, train, np.eye(len(names))[labels[train]]
theta, steps = np.zeros(n), 3 if options.quick else options.steps

# One thread: more gain little on products as sparse as these, and lose much on a busy machine.
with threadpool_limits(1):
    check_gradient(make_objective(*problem), theta, rng.standard_normal(n))
    # the steps need few digits of the gradient
    evaluations = tune(make_objective(*problem, adjoint_tol=1e-4), theta, steps)
losses, _, directions, durations = zip(*evaluations, strict=True)
forward, backward = np.median(durations, axis=0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # of KiB, on Linux
print(f"loss: {losses[0]:.6g} at first, {losses[-1]:.6g} after {steps} steps")
print(f"time: forward {forward:.2f} s, backward {backward:.2f} s a step")
print(f"memory: {peak:.0f} MiB at most; A as a dense array would take {m * n / 2**17:.0f} MiB")
assert losses[-1] < losses[0]

# %%
# The loss, and how many of the documents held out are put in their module.

rows = {"before": directions[0], "after": directions[-1], "of all A_0": A_0}
right = {name: accuracies(name, found, labels, train) for name, found in rows.items()}
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
axes[0].plot(losses)
axes[0].set(xlabel="step", ylabel="loss", title=f"Tuning the weights of {n} terms")
for i, way in enumerate(right["before"]):
    axes[1].bar(
        np.arange(3) + 0.4 * i, [right[name][way] for name in rows], 0.38, label=f"by {way}"
    )
titles = (f"{RANK} numbers,\nbefore", f"{RANK} numbers,\nafter", f"all {n} terms,\nbefore")
axes[1].set_xticks(np.arange(3) + 0.2, titles)
axes[1].set(title="Documents held out that are put in their module", ylim=(0, 1))
axes[1].legend()
for panel in axes:
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
plt.show()
