"""All ready-made actors in one group, in a process of its own, stopped by SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

RUNS = 200

PROGRAM = """
import gc, os, pathlib, signal, socket, sys, threading, traceback
from concurrent.futures import Future, ThreadPoolExecutor

import trio, trio.testing
from trio_rungroup import (
    RunGroup, SignalReceived, future_actor, listener_actor, process_actor, scope_actor,
    signal_actor, thread_actor,
)

pool = ThreadPoolExecutor(1)
marker = sys.argv[2]


async def in_service(group, address, stop):
    # Every one of them is at work: the server answers, the process is there.
    await trio.testing.wait_all_tasks_blocked()
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some(10) == b"hello"
    while not find(marker):
        await trio.sleep(0.001)
    stop()


async def echo(stream):
    await stream.send_all(await stream.receive_some(10))


async def run_once(stop):
    order = []

    def tell(name, pair):
        execute, interrupt = pair
        if interrupt is None:
            return execute, None

        def told(error):
            assert isinstance(error, SignalReceived)
            order.append(name)
            return interrupt(error)

        return execute, told

    thread_stop, pool_stop = threading.Event(), threading.Event()
    sock = socket.create_server(("127.0.0.1", 0))
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock))]
    pairs = {
        "signal": signal_actor(),
        "scope": scope_actor(trio.CancelScope()),
        "process": process_actor(["sleep", marker]),
        "listener": listener_actor(echo, listeners),
        "thread": thread_actor(thread_stop.wait, lambda _: thread_stop.set()),
        "future": future_actor(Future),
        "pool": future_actor(lambda: pool.submit(pool_stop.wait), lambda _: pool_stop.set()),
    }
    group = RunGroup(grace=60)
    for name, pair in pairs.items():
        group.add(*tell(name, pair), name=name)
    group.add(lambda: in_service(group, sock.getsockname(), stop), name="probe", ends_group=False)
    try:
        await group.run()
    finally:
        assert order == ["process", "listener", "thread", "future", "pool"], order
        ends = {actor.name: actor.how for actor in group.record.actors}
        assert ends == dict.fromkeys(pairs, "returned") | {
            "signal": "raised", "scope": "cancelled", "probe": "returned"
        }, ends
        interrupted = [actor.interrupted for actor in group.record.actors]
        assert interrupted == sorted(interrupted)


def find(marker):
    mine = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\\0")
        except OSError:  # it has just ended
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            mine.append(pid)
    return mine


def count():
    gc.collect()
    handlers = {number: signal.getsignal(number) for number in signal.Signals}
    return len(os.listdir("/proc/self/fd")), threading.active_count(), handlers


def main():
    for run in range(int(sys.argv[1])):
        if run == 10:  # the threads that trio and the pool keep have been begun
            before = count()
        try:
            trio.run(run_once, lambda: os.kill(os.getpid(), signal.SIGTERM))
        except SignalReceived:
            pass
        assert find(marker) == []
    assert count() == before, (count(), before)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:  # there are none
        pass
    else:
        raise AssertionError("a child is left")
    try:
        trio.run(run_once, lambda: print("in service", flush=True))
    except SignalReceived as received:
        sys.exit(received.exit_code)


try:
    main()
except Exception:
    traceback.print_exc()
    os._exit(1)  # without waiting for the threads that such a failure has left
"""


def test_all_actors_stop_in_order_at_sigterm_and_leave_nothing() -> None:
    marker = f"{100_000 + os.getpid()}.5"  # seconds, and a word to find the processes by
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, str(RUNS), marker],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        output, errors = program.communicate(timeout=120)
    assert (line, output, errors) == ("in service\n", "", "")
    assert program.returncode == 128 + signal.SIGTERM
