"""Sparse matrices for truncated SVDs: one of real data, one that is hard and one that is easy.

All have some 20 entries a row, in double precision and CSR.
"""

from __future__ import annotations

import random
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

LINES = 10  # of source in a row
A_ROW = 23  # entries of a random matrix
IDENTIFIER = re.compile(r"[A-Za-z_]\w+")


def identifiers(m: int, n: int) -> csr_array:
    """Pieces of installed Python source by their most frequent identifiers, log(1 + count).

    The same in one environment; with less than m pieces installed it has as many rows.
    """
    rows = list(islice(pieces(), m))
    frequent = Counter(chain.from_iterable(rows)).most_common(n)
    places = {word: j for j, (word, _) in enumerate(frequent)}
    cols = np.array([places.get(word, -1) for word in chain.from_iterable(rows)])
    known = cols >= 0
    rows_of = np.repeat(np.arange(len(rows)), [len(words) for words in rows])
    ones = np.ones(np.count_nonzero(known))
    A = csr_array((ones, (rows_of[known], cols[known])), shape=(len(rows), n))
    A.sum_duplicates()
    A.data = np.log1p(A.data)
    return A


def pieces() -> Iterator[list[str]]:
    """Identifiers of one piece after the other, of files in an arbitrary order that stays."""
    files = source_files()
    random.Random(0).shuffle(files)
    for path in files:
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        for start in range(0, len(lines), LINES):
            if words := IDENTIFIER.findall("\n".join(lines[start : start + LINES])):
                yield words


def source_files() -> list[Path]:
    """Those of the standard library and of site-packages."""
    folders = sysconfig.get_paths()
    standard = Path(folders["stdlib"])
    found = [path for path in standard.rglob("*.py") if "site-packages" not in path.parts]
    return sorted({*found, *Path(folders["purelib"]).rglob("*.py")})


def flat(m: int, n: int) -> csr_array:
    """Normal entries in random places: the largest values lie close together, with no gap."""
    rng = np.random.default_rng(0)
    cols = rng.integers(0, n, m * A_ROW)
    places = np.repeat(np.arange(m), A_ROW), cols
    A = csr_array((rng.standard_normal(m * A_ROW), places), shape=(m, n))
    A.sum_duplicates()
    return A


def decaying(m: int, n: int) -> csr_array:
    """The same with columns divided by 1, 2, 3, ..., as its singular values nearly are then."""
    A = flat(m, n)
    A.data /= 1 + A.indices
    return A
