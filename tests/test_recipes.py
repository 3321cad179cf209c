"""Short programs around other people's libraries, each a function to lift into a README.

They end at SIGINT or SIGTERM, in order; the tests send real signals and real requests.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
from runs import needs_trio_asyncio

from trio_rungroup import RunGroup, SignalReceived, signal_actor

# ---- the recipes ----


async def consume_with_anyio(
    jobs: anyio.abc.ObjectReceiveStream[str], handle: Callable[[str], Coroutine[Any, Any, None]]
) -> None:
    """Run anyio code as an actor, as it is; the jobs it has taken are finished."""
    stop = anyio.CancelScope()

    async def consume() -> None:
        async with anyio.create_task_group() as tasks:
            with stop:
                async for job in jobs:
                    tasks.start_soon(handle, job)

    group = RunGroup(grace=30)
    group.add(*signal_actor())
    group.add(consume, lambda error: stop.cancel())
    await group.run()


# A program, not a function: importing trio_asyncio puts another event loop policy in place for
# the whole process, under which dask's cluster of these tests does not start.
ASYNCIO_CODE = """
import asyncio
import sys

import trio
import trio_asyncio
from trio_rungroup import RunGroup, SignalReceived, signal_actor


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello " + await reader.readline())
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    stop = asyncio.Event()

    async def serve_in_asyncio() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()

    async def serve() -> None:
        async with trio_asyncio.open_loop():
            await trio_asyncio.aio_as_trio(serve_in_asyncio)()

    group = RunGroup(grace=30)
    group.add(*signal_actor())
    group.add(serve, lambda error: stop.set())
    await group.run()


try:
    trio.run(main)
except SignalReceived as received:
    sys.exit(received.exit_code)
"""


async def serve_and_reload(
    load: Callable[[], str], serve: Callable[[str], Awaitable[object]]
) -> None:
    """Begin anew with another configuration at each SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # or one during the stop would kill the process

    async def reload_loop() -> None:
        # Open all the time: between two groups a SIGHUP would be lost.
        with trio.open_signal_receiver(signal.SIGHUP) as hangups:
            while True:
                inner = RunGroup(grace=10)
                inner.add(hangups.__anext__, name="hangup")
                inner.add(functools.partial(serve, load()))
                if await inner.run() != signal.SIGHUP:
                    return

    group = RunGroup(grace=30)
    group.add(*signal_actor())
    group.add(reload_loop)
    await group.run()


# ---- their tests ----


pytestmark = pytest.mark.usefixtures("handlers_restored")


async def ends_with_sigterm(recipe: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(SignalReceived) as caught:
        await recipe()
    assert caught.value.signal == signal.SIGTERM


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_anyio_code_finishes_the_jobs_it_has_taken() -> None:
    finished: list[str] = []

    async def handle(job: str) -> None:
        if job == "last":
            terminate()
        await anyio.sleep(0.1)
        finished.append(job)

    send, receive = anyio.create_memory_object_stream[str](2)
    send.send_nowait("first")
    send.send_nowait("last")
    with send, receive:
        await ends_with_sigterm(functools.partial(consume_with_anyio, receive, handle))
    assert sorted(finished) == ["first", "last"]


@needs_trio_asyncio
def test_asyncio_code_runs_beside_trio_code() -> None:
    # trio-asyncio derives from it; Python 3.12 and later say so when it is imported.
    deprecated = "ignore:'AbstractChildWatcher' is deprecated:DeprecationWarning"
    options = ["-X", "dev", "-W", "error", "-W", deprecated]
    command = [sys.executable, *options, "-c", ASYNCIO_CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"world\n")
            assert sock.makefile("rb").readline() == b"hello world\n"
        program.send_signal(signal.SIGTERM)
        assert program.communicate(timeout=60) == (b"", b"")
    assert program.returncode == 128 + signal.SIGTERM


async def test_a_sighup_begins_anew_with_another_configuration() -> None:
    versions = iter(["one", "two", "three"])
    log: list[str] = []

    async def serve(version: str) -> None:
        log.append(f"begin {version}")
        os.kill(os.getpid(), signal.SIGTERM if version == "three" else signal.SIGHUP)
        try:
            await trio.sleep_forever()
        finally:
            log.append(f"end {version}")

    await ends_with_sigterm(functools.partial(serve_and_reload, lambda: next(versions), serve))
    assert log == [
        word.format(version)
        for version in ("one", "two", "three")
        for word in ("begin {}", "end {}")
    ]


async def test_a_sighup_during_the_stop_does_no_harm() -> None:
    async def serve(version: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await trio.sleep_forever()
        finally:
            os.kill(os.getpid(), signal.SIGHUP)

    await ends_with_sigterm(functools.partial(serve_and_reload, lambda: "one", serve))


async def test_a_reloading_server_that_ends_by_itself_ends_the_program() -> None:
    async def serve(version: str) -> None:
        assert version == "one"

    await serve_and_reload(lambda: "one", serve)
