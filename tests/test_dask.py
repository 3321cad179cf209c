"""future_actor on real dask clusters: schedulers and workers in processes of their own."""

from __future__ import annotations

import contextlib
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_rungroup import RunGroup, future_actor

if TYPE_CHECKING:
    from pathlib import Path

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    # Nothing that is measured runs in the cluster, and coverage would make it three times as slow.
    coverage = threading.gettrace()
    threading.settrace(None)  # pyright: ignore[reportArgumentType]
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
                )
            )
        client = stack.enter_context(distributed.Client(cluster))
        threading.settrace(coverage)
        yield client


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    with subprocess.Popen(
        [*command, "--dashboard-address", ":0", "--scheduler-file", file],
        stderr=subprocess.DEVNULL,
    ) as process:
        yield process, file
        process.kill()


async def worker_of(client: Any, future: Any) -> int:
    """Wait until the work has been handed to a worker, and tell that one's process."""
    workers: list[int] = []
    while not workers:
        await trio.sleep(0.01)
        workers = [
            client.run(os.getpid, workers=[address])[address]
            for address, keys in client.processing().items()
            if future.key in keys
        ]
    return workers[0]


async def test_the_value_of_the_remote_call_is_the_value_of_the_actor(client: Any) -> None:
    execute, _ = future_actor(lambda: client.submit(operator.add, 1, 2, pure=False))
    assert await execute() == 3


async def test_a_remote_error_keeps_its_type(client: Any) -> None:
    group = RunGroup()
    group.add(*future_actor(lambda: client.submit(operator.truediv, 1, 0, pure=False)))
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        await group.run()


async def test_a_future_cancelled_by_its_interrupt_is_a_clean_return(client: Any) -> None:
    group = RunGroup()
    group.add(*future_actor(lambda: client.submit(time.sleep, 1, pure=False)))
    group.add(trio.lowlevel.checkpoint)
    assert await group.run() is None
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned", "returned"]


async def test_a_future_cancelled_by_somebody_else_raises_its_own_error(client: Any) -> None:
    future = client.submit(time.sleep, 1, pure=False)
    execute, _ = future_actor(lambda: future)
    with pytest.RaisesGroup(distributed.client.FutureCancelledError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.to_thread.run_sync(future.cancel)


async def test_a_cancelled_actor_cancels_its_future(client: Any) -> None:
    future = client.submit(time.sleep, 1, pure=False)
    execute, _ = future_actor(lambda: future)
    with trio.move_on_after(0.01) as scope:
        await execute()
    assert scope.cancelled_caught
    assert future.cancelled()


async def test_an_event_of_the_cluster_stops_the_remote_work_in_order(client: Any) -> None:
    stop = distributed.Event(client=client)
    group = RunGroup(grace=60)
    group.add(*future_actor(lambda: client.submit(stop.wait, pure=False), lambda _: stop.set()))
    group.add(trio.lowlevel.checkpoint)
    await group.run()
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned", "returned"]


async def test_a_thousand_at_once(client: Any) -> None:
    values: list[Any] = []

    async def collect(future: Any) -> None:
        execute, _ = future_actor(lambda: future)
        values.append(await execute())

    async with trio.open_nursery() as nursery:
        for future in client.map(operator.neg, range(1000), pure=False):
            nursery.start_soon(collect, future)
    assert sorted(values) == list(range(-999, 1))


async def test_the_work_of_a_worker_that_is_killed_is_done_by_another(client: Any) -> None:
    finish = distributed.Event(client=client)
    future = client.submit(finish.wait, pure=False)
    execute, _ = future_actor(lambda: future)

    async def kill() -> None:
        os.kill(await worker_of(client, future), signal.SIGKILL)
        finish.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill)
        assert await execute() is True


async def test_work_that_dies_with_its_worker_too_often_is_an_error(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
    future = client.submit(time.sleep, 600, pure=False)
    execute, _ = future_actor(lambda: future)
    with pytest.RaisesGroup(distributed.KilledWorker):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            os.kill(await worker_of(client, future), signal.SIGKILL)


async def test_a_scheduler_that_is_killed_is_an_error(
    scheduler: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, file = scheduler
    with distributed.Client(scheduler_file=file, timeout=60) as client:
        execute, _ = future_actor(lambda: client.submit(time.sleep, 600))  # there is no worker
        with pytest.RaisesGroup(distributed.client.FutureCancelledError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(execute)
                await trio.testing.wait_all_tasks_blocked()
                process.kill()
