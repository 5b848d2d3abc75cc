"""``python -m spectralgrad diagnose``: every format, damaged files, stdin, JSON and figures."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spectralgrad as sg
from spectralgrad.__main__ import main
from spectralgrad._diagnosis import command, files

STACK = np.random.default_rng(0).standard_normal((5, 4, 3))
STACK[2] = 0


def tensors(arrays, *, edit=lambda header: header, cut=0):
    """A file of the safetensors format; `edit` changes its header, `cut` its length."""
    header, body = {"__metadata__": {"format": "np"}}, b""
    for name, (kind, x) in arrays.items():
        start, body = len(body), body + x.tobytes()
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [start, len(body)]}
    text = json.dumps(edit(header)).encode()
    whole = len(text).to_bytes(8, "little") + text + body
    return whole[: len(whole) - cut]


def npy(x, **options):
    file = io.BytesIO()
    np.save(file, x, **options)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def mtx(x):
    scipy_io = pytest.importorskip("scipy.io")
    file = io.BytesIO()
    scipy_io.mmwrite(file, x)
    return file.getvalue()


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def found(capsys, *arguments):
    """The JSON of a run that went well."""
    assert main(["diagnose", *arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def refused(capsys, *arguments):
    """The one line of a run that did not."""
    assert main(["diagnose", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"diagnose: {arguments[0]}")
    return line


def as_bfloat16(x):
    return (x.astype("<f4").view("<u4") >> 16).astype("<u2")


def test_every_format(tmp_path, capsys):
    x = STACK[0]
    single, half = x.astype(np.float32), x.astype(np.float16)
    named = {"w": ("F32", single), "half": ("F16", half), "brain": ("BF16", as_bfloat16(x))}
    named |= {"counts": ("I64", np.arange(4)), "bias": ("F64", x[0]), "stack": ("F64", STACK)}
    csv = "a, b, c\n" + "\n".join(",".join(map(repr, map(float, row))) for row in x) + "\n"
    cases = {
        "x.npy": (npy(x), {"x": x}),
        "stack.npy": (npy(STACK.astype(">f8")), {"x": STACK}),
        "x.npz": (npz(w=x, s=STACK, i=np.arange(3), v=x[0]), {"w": x, "s": STACK}),
        "x.mtx": (mtx(x), {"x": x}),
        "x.csv": (csv.encode(), {"x": x}),
        "marked.csv": (b"\xef\xbb\xbf" + b"1,2\n3,4\n", {"x": np.array([[1.0, 2.0], [3.0, 4.0]])}),
        "complex.csv": (b"1+2j,0\n0,1\n", {"x": np.array([[1 + 2j, 0], [0, 1]])}),
        "x.safetensors": (
            tensors(named),
            {"w": single, "half": half.astype("f"), "brain": None, "stack": STACK},
        ),
    }
    for name, (data, wanted) in cases.items():
        reports = found(capsys, written(tmp_path, name, data))
        assert list(reports) == list(wanted)
        for label, matrix in wanted.items():
            if matrix is None:
                rounded = (as_bfloat16(x).astype("<u4") << 16).view("<f4")
                matrix = rounded
            exact = sg.diagnose(matrix)
            np.testing.assert_allclose(reports[label]["S"], exact.S, rtol=1e-12)
            assert reports[label]["mask"] == exact.mask.tolist()


def test_sparse_files(tmp_path, capsys):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random_array((400, 300), density=0.02, rng=np.random.default_rng(0))
    path = written(tmp_path, "x.mtx", mtx(x))
    exact = np.linalg.svd(x.toarray(), compute_uv=False)
    np.testing.assert_allclose(found(capsys, path, "--k", "4")["x"]["S"], exact[:12], rtol=1e-9)
    np.testing.assert_allclose(found(capsys, path)["x"]["S"], exact, rtol=1e-9, atol=1e-12)
    huge = sparse.coo_array(([1.0], ([5], [7])), shape=(100_000, 100_000))
    assert "give --k" in refused(capsys, written(tmp_path, "huge.mtx", mtx(huge)))


def test_stdin_is_told_by_its_beginning(capsys, monkeypatch):
    for data in (npy(np.eye(3)), npz(x=np.eye(3)), mtx(np.eye(3)), b"1,0,0\n0,1,0\n0,0,1\n",
                 tensors({"x": ("F64", np.eye(3))})):  # fmt: skip
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert found(capsys, "-")["x"]["cluster"] == [0, 0, 0]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def edited(**changes):
    def edit(header):
        header["x"] |= changes
        return header

    return tensors({"x": ("F64", np.eye(3))}, edit=edit)


BAD = {
    "missing.npy": None,
    "empty.npy": b"",
    "text.npy": b"no numbers",
    "pickle.npy": pickle.dumps(Evil()),
    "object.npy": npy(np.array([[Evil()]]), allow_pickle=True),
    "short.npy": npy(np.eye(9))[:-8],
    "integers.npy": npy(np.eye(3, dtype=int)),
    "vector.npy": npy(np.ones(3)),
    "damaged.npz": npz(x=np.eye(30))[:-40],
    "object.npz": npz(x=np.array([[Evil()]])),
    "pickle.npz": pickle.dumps(Evil()),
    "bad.mtx": b"%%MatrixMarket matrix coordinate real general\n3 3 1\n9 9 1.0\n",
    "ragged.csv": b"1,2\n3\n",
    "words.csv": b"a,b\nc,d\n",
    "half.csv": b"1,b\n2,3\n",
    "headings.csv": b"a,b\n",
    "empty.csv": b"",
    "binary.csv": bytes(range(256)),
    "empty.safetensors": b"",
    "short.safetensors": tensors({"x": ("F64", np.eye(3))}, cut=8),
    "long header.safetensors": (2**62).to_bytes(8, "little") + b"{}",
    "list.safetensors": tensors({}, edit=lambda header: [1]),
    "no json.safetensors": (4).to_bytes(8, "little") + b"{{{{",
    "deep.safetensors": (10**6).to_bytes(8, "little") + b"[" * 10**6,
    "shape.safetensors": edited(shape=[3, 4]),
    "negative.safetensors": edited(shape=[-3, -3]),
    "fraction.safetensors": edited(shape=[3.0, 3]),
    "text shape.safetensors": edited(shape="33"),
    "overflow.safetensors": edited(shape=[2**40, 2**40]),
    "offsets.safetensors": edited(data_offsets=[8, 80]),
    "backwards.safetensors": edited(data_offsets=[72, 0]),
    "three.safetensors": edited(data_offsets=[0, 72, 72]),
    "no offsets.safetensors": edited(data_offsets=None),
    "entry.safetensors": tensors({}, edit=lambda header: {"x": 3}),
    "dtype.safetensors": edited(dtype=["F64"]),
    "nothing.safetensors": tensors({"i": ("I64", np.eye(3, dtype=int))}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_take_one_line(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / name) if BAD[name] is None else written(tmp_path, name, BAD[name])
    line = refused(capsys, path)
    assert len(line) < 200 + len(path)
    assert not (tmp_path / "evil").exists()


def test_other_bad_arguments(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = written(tmp_path, "x.npy", npy(np.eye(3)))
    assert "`k` is 9; wanted a whole number from 1 to 3" in refused(capsys, path, "--k", "9")
    assert main(["diagnose", path, "--plot", str(tmp_path / "no" / "folder.png")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["diagnose", path, "--plot", str(tmp_path / "picture.doc")]) == 2
    assert "Format 'doc' is not supported" in capsys.readouterr().err
    assert main(["diagnose", str(tmp_path)]) == 2
    with pytest.raises(SystemExit) as left:
        main(["diagnose", path, "--k", "many"])
    assert left.value.code == 2


def test_text_and_figures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = written(tmp_path, "x.npz", npz(a=np.eye(3), b=STACK))
    assert main(["diagnose", path, "--plot", str(tmp_path / "out.png")]) == 0
    text = capsys.readouterr().out
    assert "a: Diagnosis of a real 3 x 3 matrix" in text
    assert "b: Diagnosis of 5 real 4 x 3 matrices: 4 are well-conditioned" in text
    for i in range(2):
        assert (tmp_path / f"out-{i}.png").read_bytes().startswith(b"\x89PNG")


def test_names_cannot_command_a_terminal(tmp_path, capsys):
    named = {"\x1b[2J": ("F64", np.eye(2)), "b": ("F64", np.eye(2))}
    path = written(tmp_path, "x.safetensors", tensors(named))
    assert main(["diagnose", path]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_pieces_make_the_whole(tmp_path, capsys, monkeypatch):
    x = np.random.default_rng(1).standard_normal((3, 7, 4, 3))
    x[1, 2] = np.nan
    path = written(tmp_path, "x.npy", npy(x))
    whole = found(capsys, path, "--k", "2")
    monkeypatch.setattr(command, "PIECE", 40)
    assert found(capsys, path, "--k", "2") == whole
    assert whole["x"]["S"][1][2] == [None] * 3
    assert whole["x"]["findings"][0]["index"] == [1, 2]


def test_a_bar_on_a_terminal_alone(tmp_path, capsys, monkeypatch):
    pytest.importorskip("rich")
    path = written(tmp_path, "x.npy", npy(STACK))
    monkeypatch.setattr(command, "PIECE", 12)
    assert main(["diagnose", path]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["diagnose", path]) == 0
    printed = capsys.readouterr()
    assert "diagnose" in printed.err
    assert printed.out.startswith("Diagnosis of 5")


def test_as_a_process(tmp_path):
    path = written(tmp_path, "x.npy", npy(np.eye(3)))
    run = [sys.executable, "-m", "spectralgrad", "diagnose"]
    with Path(path).open("rb") as file:
        done = subprocess.run([*run, "-"], stdin=file, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "count as equal" in done.stdout
    done = subprocess.run([*run, path + "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_readers_know_their_formats():
    assert set(files.READERS) == {".npy", ".npz", ".mtx", ".csv", ".safetensors"}
