"""The ready-made actors, with real signals, scopes and processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_rungroup import (
    RunGroup,
    ScopeCancelled,
    SignalReceived,
    process_actor,
    scope_actor,
    signal_actor,
)

PATIENCE = 30  # seconds that something real may take on a busy machine


async def give(after: float, value: object = None) -> object:
    await trio.sleep(after)
    return value


def after(seconds: float) -> Callable[[], Awaitable[object]]:
    return lambda: give(seconds)


async def raised_by(group: RunGroup) -> BaseException:
    try:
        with trio.fail_after(PATIENCE):
            await group.run()
    except Exception as error:
        return error
    raise AssertionError("run() has returned")


def nothing(_: BaseException | None) -> None:
    pass


def send(number: int) -> Callable[[], Awaitable[object]]:
    async def send_signal() -> None:
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), number)
        await trio.sleep_forever()

    return send_signal


# ---- signal_actor


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_actor_waits_for_sigint_and_sigterm_by_default(number: signal.Signals) -> None:
    group, before = RunGroup(), signal.getsignal(number)
    group.add(*signal_actor())
    group.add(send(number))
    error = await raised_by(group)
    assert isinstance(error, SignalReceived)
    assert error.signal is number
    assert error.exit_code == 128 + number
    assert str(error) == f"received signal {number.name}"
    assert signal.getsignal(number) is before


async def test_signal_actor_waits_for_the_signals_it_is_given() -> None:
    group = RunGroup()
    group.add(*signal_actor(signal.SIGUSR1, signal.SIGHUP))
    group.add(send(signal.SIGHUP))
    error = await raised_by(group)
    assert isinstance(error, SignalReceived)
    assert error.signal is signal.SIGHUP


async def test_signal_actor_gives_the_handlers_back_before_the_others_wind_down() -> None:
    group, seen = RunGroup(grace=PATIENCE), list[Any]()
    before = signal.getsignal(signal.SIGTERM)

    async def wind_down(error: BaseException | None) -> None:
        seen.append(signal.getsignal(signal.SIGTERM) is before)

    group.add(trio.sleep_forever, wind_down, grace=0.1)
    group.add(*signal_actor())
    group.add(send(signal.SIGTERM))
    assert isinstance(await raised_by(group), SignalReceived)
    assert seen == [True]


@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
async def test_signals_that_come_in_the_same_moment_are_one(first: signal.Signals) -> None:
    signals = [first, *{signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP}.difference({first})]

    async def send_all() -> None:
        await trio.testing.wait_all_tasks_blocked()
        for number in signals:
            signal.raise_signal(number)
        await trio.sleep_forever()

    sent_anew: list[int] = []
    before = [
        signal.signal(number, lambda number, _: sent_anew.append(number)) for number in signals
    ]
    group = RunGroup()
    group.add(*signal_actor(*signals))
    group.add(send_all)
    try:
        error = await raised_by(group)
        await trio.testing.wait_all_tasks_blocked()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    assert isinstance(error, SignalReceived)
    assert error.signal is first
    assert sent_anew == []


@pytest.mark.parametrize("ticks", range(8))
async def test_a_signal_shortly_before_a_cancellation_is_not_lost(ticks: int) -> None:
    heard: list[object] = []
    execute, _ = signal_actor(signal.SIGUSR1)

    async def wait_for_signal() -> None:
        with contextlib.suppress(SignalReceived):
            try:
                await execute()
            except SignalReceived:
                heard.append("actor")
                raise

    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("handler"))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGUSR1)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(heard) == 1


async def test_two_signal_actors_for_one_signal_are_refused() -> None:
    group = RunGroup()
    for _ in range(2):
        group.add(*signal_actor(signal.SIGUSR1, signal.SIGUSR2))
    error = await raised_by(group)
    assert isinstance(error, RuntimeError)
    assert "another signal_actor is waiting for SIGUSR1, SIGUSR2" in str(error)
    group = RunGroup()
    group.add(*signal_actor(signal.SIGUSR1))
    group.add(*signal_actor(signal.SIGUSR2))
    group.add(after(0))
    await group.run()


def test_a_run_that_trio_breaks_off_keeps_no_signal_from_the_next() -> None:
    # In a process of its own: what is left of such a run cannot be cleared away.
    source = """
import os, trio
from trio_rungroup import RunGroup, signal_actor
group = RunGroup()
group.add(*signal_actor())
async def main():
    trio.lowlevel.spawn_system_task(breaks)
    tasks.append(trio.lowlevel.current_root_task())
    await group.run()
async def breaks():
    with trio.move_on_after(0.01):
        await trio.lowlevel.wait_task_rescheduled(lambda _: 1 / 0)
async def later():
    with trio.move_on_after(0.01):
        await another.run()
tasks = []
try:
    trio.run(main)
except trio.TrioInternalError:
    another = RunGroup()
    another.add(*signal_actor())
    trio.run(later)
    print(another.record.how, flush=True)
    os._exit(0)
"""
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("cancelled\n", "")


def test_a_handler_that_python_has_not_installed_is_not_displaced() -> None:
    # It could not be put back: trio would fail half-way, and leave SIGTERM without a handler.
    source = """
import ctypes, signal, sys, trio
from trio_rungroup import RunGroup, signal_actor
handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: print("C's handler", flush=True))
ctypes.CDLL(None).signal(int(signal.SIGUSR1), handler)
del sys.modules["_signal"]
import _signal  # finds the handlers that are there, as at the start of Python
signal.signal(signal.SIGINT, signal.default_int_handler)
assert signal.getsignal(signal.SIGUSR1) is None
group = RunGroup()
group.add(*signal_actor(signal.SIGTERM, signal.SIGUSR1))
try:
    trio.run(group.run)
except RuntimeError as error:
    print(error, flush=True)
signal.raise_signal(signal.SIGUSR1)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "signal_actor() could not put back the handler of SIGUSR1, which Python has not installed: "
        "leave that signal out, or give the handler up before trio.run: "
        f"signal.signal({signal.SIGUSR1:d}, signal.SIG_DFL)",
        "C's handler",
        "True",
    ]
    assert done.stderr == ""


async def test_signal_actor_refuses_what_is_no_signal() -> None:
    wrong: Any = "SIGTERM"
    with pytest.raises(TypeError, match=r"not 'SIGTERM'; write a member of signal\.Signals"):
        signal_actor(wrong)
    with pytest.raises(TypeError, match=r"not \[2, 15\]; write signal_actor\(\*signals\)"):
        signal_actor([2, 15])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no signal 12345"):
        signal_actor(12345)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        with pytest.raises(ValueError, match=f"no process can wait for {number.name}"):
            signal_actor(number)


async def test_signal_actor_needs_no_signal_that_windows_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SIGKILL", "SIGSTOP", "SIGHUP"):
        monkeypatch.delattr(signal, name)
    group = RunGroup()
    group.add(*signal_actor())
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        group.interrupt()


async def test_signal_actor_takes_a_signal_without_a_name() -> None:
    group, number = RunGroup(), signal.SIGRTMIN + 1
    group.add(*signal_actor(number))
    group.add(send(number))
    error = await raised_by(group)
    assert isinstance(error, SignalReceived)
    assert (error.signal, error.exit_code) == (number, 128 + number)
    assert str(error) == f"received signal {number}"


def test_signal_actor_outside_the_main_thread_is_refused() -> None:
    errors: list[BaseException] = []

    def in_a_thread() -> None:
        async def main() -> None:
            group = RunGroup()
            group.add(*signal_actor())
            errors.append(await raised_by(group))

        trio.run(main)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert isinstance(errors[0], RuntimeError)
    assert "signal_actor() works only in the main thread" in str(errors[0])


async def test_signal_received_survives_pickling() -> None:
    received = SignalReceived(signal.SIGTERM)
    received.add_note("a note")
    error = pickle.loads(pickle.dumps(received))
    assert (error.signal, str(error)) == (signal.SIGTERM, "received signal SIGTERM")
    assert error.__notes__ == ["a note"]


async def test_ready_made_actors_carry_their_factorys_name() -> None:
    group = RunGroup()
    group.add(*scope_actor(trio.CancelScope()))
    group.add(*signal_actor())
    group.add(*process_actor(["sleep", "60"]))
    group.add(*signal_actor(signal.SIGUSR1))
    group.add(after(0), name="last")
    await group.run()
    assert group.record is not None
    assert [actor.name for actor in group.record.actors] == [
        "scope_actor",
        "signal_actor",
        "process_actor",
        "signal_actor #2",
        "last",
    ]


# ---- scope_actor


async def test_scope_actor_raises_when_its_scope_is_cancelled() -> None:
    group, scope = RunGroup(), trio.CancelScope()
    group.add(*scope_actor(scope))

    async def cancel() -> None:
        scope.cancel(reason="enough")
        await trio.sleep_forever()

    group.add(cancel)
    assert isinstance(await raised_by(group), ScopeCancelled)


async def test_scope_actor_raises_at_once_for_a_scope_cancelled_before() -> None:
    group, scope = RunGroup(), trio.CancelScope()
    scope.cancel(reason="enough")
    group.add(*scope_actor(scope))
    assert isinstance(await raised_by(group), ScopeCancelled)


async def test_scope_actor_tells_a_deadline_from_a_cancellation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for scope in (trio.CancelScope(deadline=3), trio.CancelScope(relative_deadline=3)):
        group = RunGroup()
        group.add(*scope_actor(scope))
        assert isinstance(await raised_by(group), trio.TooSlowError)
    assert trio.current_time() == 6


async def test_scope_actor_is_cancelled_like_another() -> None:
    group = RunGroup()
    group.add(*scope_actor(trio.CancelScope()))
    group.add(after(0))
    await group.run()
    assert group.record is not None
    assert group.record.actors[0].how == "cancelled"


async def test_a_group_with_a_scope_actor_runs_once() -> None:
    group, scope = RunGroup(), trio.CancelScope()
    group.add(*scope_actor(scope))
    group.add(after(0))
    await group.run()
    error = await raised_by(group)
    assert isinstance(error, RuntimeError)
    assert "make another one with a scope of its own" in str(error)
    with pytest.raises(ValueError, match="a scope can be entered only once"):
        scope_actor(scope)


async def test_scope_actor_refuses_what_is_no_scope() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"takes a trio\.CancelScope, not int"):
        scope_actor(wrong)
    with pytest.raises(ValueError, match="behind the shield"):
        scope_actor(trio.CancelScope(shield=True))
    with pytest.raises(
        TypeError, match=r"in place of trio\.fail_after\(5\) write trio\.move_on_after"
    ):
        scope_actor(trio.fail_after(5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write scope_actor\(trio\.CancelScope\(\)\)$"):
        scope_actor(trio.CancelScope)  # type: ignore[arg-type]


async def test_a_scope_that_has_been_shielded_since_is_refused_when_the_group_runs() -> None:
    group, scope = RunGroup(), trio.CancelScope()
    group.add(*scope_actor(scope))
    scope.shield = True
    group.add(after(0))
    error = await raised_by(group)
    assert isinstance(error, ValueError)
    assert "behind the shield" in str(error)


# ---- process_actor


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def until_written(path: Path) -> list[int]:
    with trio.fail_after(PATIENCE):
        while not path.exists() or not path.read_text().endswith("\n"):
            await trio.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]


async def test_a_process_that_exits_with_status_0_returns() -> None:
    group = RunGroup()
    group.add(*process_actor(["true"]))
    assert await group.run() is None
    assert group.record is not None
    assert group.record.actors[0].how == "returned"


async def test_a_process_that_fails_raises_called_process_error() -> None:
    group = RunGroup()
    group.add(*process_actor("exit 3", shell=True))
    error = await raised_by(group)
    assert isinstance(error, subprocess.CalledProcessError)
    assert (error.returncode, error.cmd) == (3, "exit 3")


async def test_a_process_killed_by_someone_else_raises_called_process_error() -> None:
    group = RunGroup()
    group.add(*process_actor(python("import os; os.kill(os.getpid(), 15)")))
    error = await raised_by(group)
    assert isinstance(error, subprocess.CalledProcessError)
    assert error.returncode == -signal.SIGTERM


@pytest.mark.usefixtures("handlers_restored")
async def test_where_sigchld_is_ignored_a_process_is_not_started() -> None:
    # There the kernel keeps no exit status: the one that fails would seem to have returned.
    group = RunGroup()
    group.add(*process_actor(python("raise SystemExit(3)")))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    error = await raised_by(group)
    assert isinstance(error, RuntimeError)
    assert "signal.signal(signal.SIGCHLD, signal.SIG_DFL)" in str(error)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert isinstance(await raised_by(group), subprocess.CalledProcessError)


async def test_a_program_that_is_not_there_is_the_actors_error() -> None:
    group = RunGroup()
    group.add(*process_actor(["no-such-program-anywhere"]))
    assert isinstance(await raised_by(group), FileNotFoundError)


async def test_the_interrupt_is_sigterm_and_death_by_it_a_clean_return() -> None:
    group = RunGroup()
    group.add(*process_actor(["sleep", "60"]), grace=PATIENCE)
    group.add(after(0.1))
    with trio.fail_after(PATIENCE):
        await group.run()
    assert group.record is not None
    assert group.record.actors[0].how == "returned"


async def test_the_warning_when_its_grace_ends_tells_which_process_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = "trap '' TERM; echo $$ > pid; exec sleep 60"
    group = RunGroup()
    group.add(*process_actor(script, shell=True, cwd=tmp_path), grace=0.01, name="stubborn")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run)
            (pid,) = await until_written(tmp_path / "pid")
            group.interrupt()
    assert re.search(f"'stubborn' at .* in Process.wait \\(process {pid}\\)\n", caplog.text)


async def test_death_by_sigkill_after_the_interrupt_is_a_clean_return_too(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ > pid; exec sleep 60"
    execute, interrupt = process_actor(script, shell=True, cwd=tmp_path)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            (pid,) = await until_written(tmp_path / "pid")
            interrupt(None)
            os.kill(pid, signal.SIGKILL)  # as the kernel does when memory runs out


async def test_a_process_interrupted_while_it_is_being_started_is_stopped() -> None:
    for _ in range(5):
        group = RunGroup()
        group.add(*process_actor(["sleep", "60"]))
        group.add(after(0))
        with trio.fail_after(PATIENCE):
            await group.run()


async def test_a_process_that_no_thread_is_free_to_start_can_be_interrupted() -> None:
    group = RunGroup()
    group.add(*process_actor(["sleep", "60"]))
    group.add(after(0.05))
    await group.run()  # also after a run with a process
    release = threading.Event()
    free = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(int(free.total_tokens)):
            nursery.start_soon(trio.to_thread.run_sync, release.wait, None)
        while free.available_tokens:
            await trio.sleep(0.001)
        try:
            with trio.fail_after(PATIENCE):
                await group.run()
        finally:
            release.set()
    assert group.record is not None
    assert group.record.actors[0].how == "returned"


@pytest.mark.parametrize(
    ("first", "grace", "how"),
    [
        ("pass", PATIENCE, "returned"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", 0.2, "cancelled"),
    ],
)
async def test_a_process_that_leaves_its_group_is_told_and_killed_all_the_same(
    tmp_path: Path, first: str, grace: float, how: str
) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    code = (
        "import os, pathlib, signal, time; os.setpgid(0, os.getpgid(os.getppid())); "
        f"{first}; "
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}}\\n'); time.sleep(60)"
    )
    group.add(*process_actor(python(code)), grace=grace)

    async def stop() -> None:
        await until_written(pids)

    group.add(stop)
    with trio.fail_after(PATIENCE):
        await group.run()
    assert [is_alive(pid) for pid in await until_written(pids)] == [False]
    assert group.record is not None
    assert group.record.actors[0].how == how


async def test_the_whole_process_group_is_told(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $$ $! > {pids}; wait"
    group = RunGroup()
    group.add(*process_actor(script, shell=True), grace=PATIENCE)

    async def stop() -> None:
        await until_written(pids)

    group.add(stop)
    await group.run()
    assert [is_alive(pid) for pid in await until_written(pids)] == [False, False]


async def test_what_is_left_of_the_group_is_killed_when_the_leader_exits(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(f"(trap '' TERM; sleep 60) & echo $! > {pids}", shell=True))
    with trio.fail_after(9):  # at once: the ten seconds are for after an interrupt
        await group.run()
    assert [is_alive(pid) for pid in await until_written(pids)] == [False]


async def stopped_once_written(group: RunGroup, path: Path) -> None:
    async def stop() -> None:
        await until_written(path)

    group.add(stop)
    with trio.fail_after(PATIENCE):
        await group.run()


SOON_GONE = "sh -c 'trap \"sleep 0.1; exit\" TERM; while :; do sleep 0.01; done'"


@pytest.mark.parametrize(
    "script", ["{}; true", f"trap 'exit 0' TERM; {SOON_GONE} & sleep 0.1; {{}} & wait"]
)
async def test_what_a_shell_runs_has_the_grace_though_the_shell_dies_at_once(
    tmp_path: Path, script: str
) -> None:
    pids, stopped = tmp_path / "pids", tmp_path / "stopped"
    server = f"trap 'sleep 0.3; touch {stopped}; exit' TERM; echo $$ > {pids}; "
    server = f'sh -c "{server} while :; do sleep 0.01; done"'
    group = RunGroup()
    group.add(*process_actor(script.format(server), shell=True), grace=PATIENCE)
    await stopped_once_written(group, pids)
    assert stopped.exists()
    assert group.record is not None
    assert group.record.actors[0].how == "returned"


IGNORES = "(trap '' TERM; echo $$ > {}; sleep 60) & wait"


async def test_what_a_shell_runs_is_killed_when_the_grace_has_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(IGNORES.format(pids), shell=True), grace=0.2)
    before = trio.current_time()
    await stopped_once_written(group, pids)
    assert trio.current_time() - before < 10
    assert group.record is not None
    assert group.record.actors[0].how == "cancelled"


async def test_what_a_shell_leaves_behind_cannot_hold_the_actor_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(IGNORES.format(pids), shell=True))
    monkeypatch.setattr("trio_rungroup._actors._LEADERLESS", 0.3)  # 10 would be long for a test
    await stopped_once_written(group, pids)
    assert group.record is not None
    (actor, _) = group.record.actors
    assert actor.how == "returned"
    assert actor.interrupted is not None
    assert actor.exited is not None
    assert actor.exited - actor.interrupted >= 0.3


@pytest.mark.parametrize(
    ("handler", "lives"), [("SIG_DFL", 60), ("SIG_IGN", 1.5)], ids=["at once", "later"]
)
async def test_zombies_that_nobody_reaps_do_not_keep_a_group_alive(
    tmp_path: Path, handler: str, lives: float
) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.{handler})
    if os.fork():
        os.setsid()  # leaves the group, and waits for nobody
        with open({str(pids)!r}, "w") as file:
            print(os.getpid(), file=file)
        time.sleep(60)
    time.sleep({lives})
    os._exit(0)
time.sleep(60)
"""
    group = RunGroup()
    group.add(*process_actor(python(code)))
    await stopped_once_written(group, pids)
    (parent,) = await until_written(pids)
    os.kill(parent, signal.SIGKILL)
    assert group.record is not None
    (actor, _) = group.record.actors
    assert actor.interrupted is not None
    assert actor.exited is not None
    assert actor.exited - actor.interrupted < 6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells of threads")
async def test_what_is_left_without_its_first_thread_has_the_grace_too(tmp_path: Path) -> None:
    pids, done = tmp_path / "pids", tmp_path / "done"
    code = f"""
import ctypes, os, pathlib, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def work():
    time.sleep(0.2)
    pathlib.Path({str(pids)!r}).write_text(str(os.getpid()) + chr(10))
    time.sleep(0.5)
    pathlib.Path({str(done)!r}).touch()
    os._exit(0)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)  # from now on, ps shows it as a zombie
"""
    group = RunGroup()
    group.add(*process_actor(f'{sys.executable} -c "$CODE" & wait', shell=True, env={"CODE": code}))
    await stopped_once_written(group, pids)
    assert done.exists()


async def test_a_process_that_is_stopped_hears_of_it_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(f"echo $$ > {pids}; kill -STOP $$", shell=True))

    async def stop() -> None:
        await until_written(pids)
        await trio.sleep(0.1)

    group.add(stop)
    with trio.fail_after(PATIENCE):
        await group.run()


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open({path!r}, "w") as file:
    print(os.getpid(), file=file)
time.sleep(60)
"""


async def test_a_process_that_ignores_sigterm_is_killed_when_its_grace_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(python(STUBBORN.format(path=str(pids)))), grace=0.2)

    async def stop() -> None:
        await until_written(pids)

    group.add(stop)
    with trio.fail_after(PATIENCE):
        await group.run()
    assert group.record is not None
    assert group.record.actors[0].how == "cancelled"
    assert [is_alive(pid) for pid in await until_written(pids)] == [False]


async def test_a_process_is_killed_and_reaped_when_run_is_cancelled(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    group = RunGroup()
    group.add(*process_actor(python(STUBBORN.format(path=str(pids)))))
    with trio.CancelScope() as scope:

        async def cancel() -> None:
            await until_written(pids)
            scope.cancel(reason="test")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            nursery.start_soon(group.run)
    assert [is_alive(pid) for pid in await until_written(pids)] == [False]


async def test_an_exit_status_after_the_interrupt_that_is_no_death_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    script = f"trap 'exit 7' TERM; echo $$ > {pids}; while :; do sleep 0.01; done"
    group = RunGroup()
    group.add(*process_actor(script, shell=True), grace=PATIENCE, name="a")

    async def stop() -> None:
        await until_written(pids)

    group.add(stop)
    await group.run()
    assert caplog.messages == ["actor 'a' raised an error after the stop had begun"]


async def test_it_is_one_also_where_the_grace_ends_for_what_the_process_has_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    left = f"sh -c 'trap \"\" TERM; echo $PPID $$ > {pids}; exec sleep 60'"
    script = f"trap 'exit 3' TERM; {left} & while :; do sleep 0.01; done"
    group = RunGroup()
    group.add(*process_actor(script, shell=True))
    group.add(*process_actor(["sleep", "60"]), name="b")
    with trio.move_on_after(PATIENCE) as scope:

        async def stop() -> None:
            leader, _ = await until_written(pids)
            group.interrupt()
            while is_alive(leader):
                await trio.sleep(0.01)
            await trio.sleep(0.1)  # it is reaped
            scope.cancel()

        group.add(stop, nothing, grace=PATIENCE)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await group.run()
    assert caught.value.returncode == 3
    assert caplog.messages == []
    assert [is_alive(pid) for pid in await until_written(pids)] == [False, False]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="who reaps is told by prctl")
async def test_a_death_before_the_interrupt_is_an_error_though_its_group_dies_later(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    adopt_orphans(1)  # so what is left of the group, once killed, stays until we reap it
    script = f"sleep 60 & echo $$ $! > {pids}; sleep 0.3; kill -9 $$"
    execute, interrupt = process_actor(script, shell=True)
    errors = list[BaseException]()

    async def run() -> None:
        try:
            await execute()
        except subprocess.CalledProcessError as error:
            errors.append(error)

    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                leader, left = await until_written(pids)
                while Path(f"/proc/{leader}").exists():
                    await trio.sleep(0)
                assert errors == []
                interrupt(None)
        os.waitpid(left, 0)  # noqa: ASYNC222 - it has gone
    finally:
        adopt_orphans(0)
    assert [str(error)[-len("SIGKILL: 9>.") :] for error in errors] == ["SIGKILL: 9>."]


def adopt_orphans(whether: int) -> None:
    pr_set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(pr_set_child_subreaper, whether, 0, 0, 0) == 0


async def test_a_process_leads_a_group_and_reads_from_the_null_device(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "import os, sys; print(os.getpid() == os.getpgid(0), repr(sys.stdin.read()))"
    group = RunGroup()
    (tmp_path / "in").write_text("for us")
    ours = os.dup(0)
    with (tmp_path / "in").open("rb") as to_read, out.open("wb") as file:
        os.dup2(to_read.fileno(), 0)  # pytest has put the null device there
        try:
            group.add(*process_actor(python(script), stdout=file, env={"A": "b"}))
            await group.run()
        finally:
            os.dup2(ours, 0)
            os.close(ours)
    assert out.read_text() == "True ''\n"


async def test_one_pair_of_a_process_is_not_two_actors() -> None:
    pair = process_actor(["sleep", "60"])
    group = RunGroup()
    group.add(*pair)
    group.add(*pair)
    with pytest.raises(RuntimeError, match="running already: give each actor a pair of its own"):
        await group.run()
    with trio.move_on_after(0.1) as scope:
        await pair[0]()  # the one that was refused has not marked it as running
    assert scope.cancelled_caught


def test_misuse_of_what_process_actor_made_is_told_by_its_name() -> None:
    execute, interrupt = process_actor(["true"])
    with pytest.raises(TypeError, match=r"^process_actor takes no keyword task_status"):
        RunGroup().add(execute, interrupt, reports_started=True)
    with pytest.raises(TypeError, match=r"write group\.add\(process_actor\) instead"):
        RunGroup().add(execute())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def test_a_group_with_a_process_can_be_run_again() -> None:
    group = RunGroup()
    group.add(*process_actor(["sleep", "60"]), grace=PATIENCE)
    group.add(after(0.05))
    for _ in range(2):
        with trio.fail_after(PATIENCE):
            await group.run()


async def test_other_options_go_to_the_process(tmp_path: Path) -> None:
    group = RunGroup()
    group.add(*process_actor(["touch", "here"], cwd=tmp_path, preexec_fn=lambda: os.umask(0o077)))
    await group.run()
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o600


@pytest.mark.parametrize("option", ["stdin", "process_group", "start_new_session"])
def test_options_that_process_actor_sets_itself_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: None}
    with pytest.raises(TypeError, match=f"takes no {option}: the process reads from the null"):
        process_actor(["true"], **options)


@pytest.mark.parametrize("option", ["grace", "name", "ends_group", "reports_started"])
def test_options_of_add_are_shown_their_place(option: str) -> None:
    options: dict[str, Any] = {option: 3}
    with pytest.raises(TypeError, match=rf"add\(\*process_actor\(...\), {option}=...\)"):
        process_actor(["true"], **options)


@pytest.mark.parametrize("option", ["check", "capture_output", "timeout", "input"])
def test_options_that_only_subprocess_run_has_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: None}
    with pytest.raises(TypeError, match=f"takes no {option}, unlike subprocess.run"):
        process_actor(["true"], **options)


def test_a_command_in_one_string_is_refused_without_a_shell() -> None:
    with pytest.raises(TypeError, match=r"here \['sleep', '1'\]; .* needs shell=True"):
        process_actor("sleep 1")


@pytest.mark.parametrize("command", ["", [], ()])
def test_an_empty_command_is_refused(command: Any) -> None:
    with pytest.raises(ValueError, match="takes the words of a command"):
        process_actor(command)


@pytest.mark.parametrize("command", [None, 5, b"ls", ["ls", 5], (word for word in ["ls", "-l"])])
def test_what_is_no_list_of_words_is_refused(command: Any) -> None:
    with pytest.raises(TypeError, match=r"as a list, such as \['ls', '-l'\], not "):
        process_actor(command)


def test_a_list_of_words_is_refused_for_a_shell() -> None:
    with pytest.raises(TypeError, match=r"in one string, not \['ls'\]; leave out shell=True"):
        process_actor(["ls"], shell=True)


async def test_a_path_is_a_command_and_so_is_a_list_with_paths_and_bytes() -> None:
    commands: list[Any] = [Path("/bin/true"), (Path("/bin/sh"), b"-c", "exit 0")]
    for command in commands:
        await process_actor(command)[0]()


@pytest.mark.parametrize("option", ["universal_newlines", "text", "encoding", "errors", "bufsize"])
def test_options_for_a_pipe_that_is_not_there_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: 1}
    with pytest.raises(TypeError, match=f"takes no {option}: what the process writes goes to its"):
        process_actor(["true"], **options)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_that_nobody_would_read_is_refused(stream: str) -> None:
    options: dict[str, Any] = {stream: subprocess.PIPE}
    with pytest.raises(TypeError, match="takes no PIPE, since nobody would read it"):
        process_actor(["true"], **options)
