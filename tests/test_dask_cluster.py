"""Two worker processes of dask.distributed: one machine's numbers, also when one is killed."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from matrices import random, sample
from test_dask_stacks import FUNCTIONS, function_of
from test_dask_stacks import in_blocks as stack_in_blocks

import spectralgrad as sg

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
cloudpickle = pytest.importorskip("cloudpickle")


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * max(1, np.max(np.abs(wanted))))


QUICK = ["orthogonalize", "truncation_error", "svd_function:ratio", "eigh_function:pair", "powm"]
SENT = [
    pytest.param(op, id=op.name, marks=() if op.name in QUICK else pytest.mark.slow)
    for op in FUNCTIONS
]


@pytest.mark.parametrize("operation", SENT)
def test_every_task_can_be_sent(operation):
    """Graphs are pickled as they are for a worker."""
    x = sample(operation, (3, 4, 4) if operation.square else (3, 4, 3), seed=3)
    out = function_of(operation)(x)
    bar = random(out.shape, seed=5, is_complex=np.iscomplexobj(out))
    value, pullback = sg.vjp(function_of(operation), stack_in_blocks(x))
    graphs = value, *pullback(stack_in_blocks(bar))
    sent = pickle.loads(cloudpickle.dumps(graphs))
    for found, wanted in zip(
        dask.compute(*sent, scheduler="synchronous"),
        dask.compute(*graphs, scheduler="synchronous"),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    distributed = pytest.importorskip("distributed")
    quiet = {"distributed.worker.memory.terminate": False, "distributed.comm.timeouts.connect": 60}
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=50,
            local_directory=str(tmp_path_factory.mktemp("workers")),
        ) as cluster,
        distributed.Client(cluster) as own,
    ):
        yield own


def block(block_id, rows, columns):
    return np.random.default_rng(block_id).standard_normal((rows, columns))


def loss_and_gradient(rows, columns, blocks):
    shape = {"rows": rows, "columns": columns, "dtype": float, "meta": np.empty((0, 0))}
    x = da.map_blocks(block, chunks=((rows,) * blocks, (columns,)), **shape)
    (U, S, _), pullback = sg.vjp(sg.svd, x, full_matrices=False)
    (gradient,) = pullback((4 * U * U * U, None, None))
    return (U * U * U * U).sum(), S, gradient


def of_one_machine(*graphs):
    return dask.compute(*graphs, scheduler="synchronous")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_stacks_tall_and_two_dimensional(client):
    value, pullback = sg.vjp(sg.orthogonalize, stack_in_blocks(random((4, 4, 3))))
    (gradient,) = pullback(stack_in_blocks(random((4, 4, 3), seed=1)))
    y = (random((300, 20)) * 2.0 ** -np.arange(20)) @ random((20, 260), seed=1)
    (_, S, _), pullback = sg.vjp(sg.truncated_svd, da.from_array(y, chunks=(300, 130)), k=3)
    graphs = value, gradient, S, *pullback((None, da.ones(3), None))
    for found, wanted in zip(dask.compute(*graphs), of_one_machine(*graphs), strict=True):
        same(found, wanted)
    same(S.compute(), sg.svdvals(y)[:3])
    graphs = loss_and_gradient(50, 4, 3)
    with sg.in_passes():
        for found, wanted in zip(dask.compute(*graphs), of_one_machine(*graphs), strict=True):
            same(found, wanted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("passes", [False, True])
def test_a_worker_is_killed_in_a_backward(client, passes):
    loss, S, gradient = loss_and_gradient(60_000, 10, 30)
    graphs = loss, S, (gradient * gradient).sum()
    wanted = of_one_machine(*graphs)
    pids = list(client.run(os.getpid).values())
    with sg.in_passes() if passes else contextlib.nullcontext():
        running = client.compute(graphs)
        timer = threading.Timer(1.0, os.kill, (pids[0], signal.SIGKILL))
        timer.start()
        found = client.gather(running)
        timer.join()
    client.wait_for_workers(2)
    assert pids[0] not in client.run(os.getpid).values()
    for values, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_passes_over_what_is_persisted(client):
    x = da.random.default_rng(0).standard_normal((120, 4), chunks=(20, 4)).persist()
    U, S, _ = sg.svd(x, full_matrices=False)
    wanted = abs(U * S).sum().compute()
    with sg.in_passes():
        same(abs(U * S).sum().compute(), wanted)
