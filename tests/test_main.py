"""The command, run as its users run it: real processes, real signals, a real terminal."""

import compileall
import contextlib
import fcntl
import os
import pty
import random
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from runs import TAKES_TERMINAL

import trio_rungroup
from trio_rungroup import Record
from trio_rungroup.__main__ import main

COMMAND = (sys.executable, "-m", "trio_rungroup")
PATIENCE = 60  # seconds until a test fails, however busy the machine is
FOREVER = "sleep 1000"
# Each of these says "ready" as soon as it does with signals what it is for.
WAITS = "sh -c 'echo ready; exec sleep 1000'"
STUBBORN = "sh -c 'trap \"\" TERM; echo ready; exec sleep 1000'"
SAYS_BYE = "sh -c 'trap \"echo bye; exit 0\" TERM; echo ready; while :; do sleep 0.05; done'"


def when(file: str, then: str) -> str:
    """Make a command that waits for a file."""
    return f"sh -c 'until test -e {file}; do sleep 0.05; done; {then}'"


# ---- what the tests are made with ----


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Mark every process that descends from the test; at its end there must be none."""
    monkeypatch.setenv("TRIO_RUNGROUP_TEST", str(uuid.uuid4()))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    # Where pytest runs in the background of a script, these are ignored.
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGQUIT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    left = processes()
    kill_all()
    assert left == {}


def processes() -> dict[int, bytes]:
    """Find the test's processes, except for zombies, and the words of their command lines."""
    mark = os.environ["TRIO_RUNGROUP_TEST"].encode()
    found: dict[int, bytes] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if mark in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
    return found


def kill_all() -> None:
    while left := processes():
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def wait_for_the_guard() -> None:
    """Give it time to find what has been left; the fixture sees whether it did."""
    wait_until(lambda: not processes())


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    is_met = False
    while not is_met and time.monotonic() < deadline:
        time.sleep(0.01)
        is_met = condition()
    return is_met


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    with started(*arguments, **options) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@contextlib.contextmanager
def started(
    *arguments: str, command: tuple[str, ...] = COMMAND, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen([*command, *arguments], **options) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing to one that has been waited for


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def through_shell(preparation: str) -> tuple[str, ...]:
    return ("sh", "-c", f'{preparation}; exec "$@"', "sh", *COMMAND)


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command in a terminal of its own; hand out the other side of that, too."""
    command = (*TAKES_TERMINAL, *COMMAND)
    ours, theirs = pty.openpty()
    try:
        streams = dict.fromkeys(["stdin", "stdout", "stderr"], theirs)
        with started(*arguments, command=command, start_new_session=True, **streams) as process:
            os.close(theirs)
            yield process, ours
    finally:
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(ours)


def read(source: Any) -> bytes:
    assert select.select([source], [], [], PATIENCE)[0], "nothing comes"
    return os.read(source if isinstance(source, int) else source.fileno(), 65536)


def read_until(source: Any, *wanted: bytes) -> bytes:
    got = b""
    while not all(each in got for each in wanted):
        chunk = read(source)
        assert chunk, f"ends with {got!r}"
        got += chunk
    return got


def read_lines(source: Any, number: int) -> list[bytes]:
    got = b""
    while got.count(b"\n") < number:
        chunk = read(source)
        assert chunk, f"ends with {got!r}"
        got += chunk
    return got.splitlines()[:number]


def read_all(source: Any) -> bytes:
    got = b""
    with contextlib.suppress(OSError):  # so a terminal ends
        while chunk := read(source):
            got += chunk
    return got


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe that has no room until it is read; the writing end is the test's to close."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b" ")
    os.set_blocking(write_end, True)
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)


# ---- output ----


def test_each_line_is_passed_on_with_the_name_of_its_command_before_it() -> None:
    done = run("--quiet", "sh -c 'echo one; echo two; echo three >&2'", FOREVER)
    assert done.stdout == b"sh    | one\nsh    | two\n"
    assert done.stderr == b"sh    | three\n"


def test_lines_are_passed_on_while_the_command_runs() -> None:
    with started(WAITS) as process:
        assert read_lines(process.stdout, 1) == [b"sh | ready"]
        process.terminate()
        end(process)


def test_commands_of_the_same_name_are_numbered() -> None:
    Path("sh").symlink_to("/bin/sh")
    waits = "-c 'echo {}; exec sleep 1000'"
    with started(
        *[f"{path} {waits.format(path)}" for path in ("sh", "/bin/sh", "./sh")]
    ) as process:
        lines = read_lines(process.stdout, 3)
        process.terminate()
        end(process)
    assert sorted(lines) == [b"sh    | sh", b"sh #2 | /bin/sh", b"sh #3 | ./sh"]


def test_a_last_line_without_an_end_is_passed_on_with_one() -> None:
    assert run("printf 'one\\ntwo'").stdout == b"printf | one\nprintf | two\n"


def test_a_command_that_says_nothing_adds_nothing() -> None:
    done = run("--quiet", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_megabytes_of_any_bytes_arrive_unchanged(stream: str) -> None:
    blob = random.Random(1).randbytes(5_000_000) + b"\n\n\r\n\0\n"
    Path("blob").write_bytes(blob)
    done = run("--quiet", "sh -c 'cat blob'" if stream == "stdout" else "sh -c 'cat blob >&2'")
    lines = getattr(done, stream).split(b"\n")
    assert {line[:5] for line in lines[:-1]} == {b"sh | "}
    assert b"\n".join([line[5:] for line in lines]) == blob


def test_a_line_longer_than_a_mebibyte_is_passed_on_in_pieces() -> None:
    most = 2**20
    Path("blob").write_bytes(b"a" * most + b"\n" + b"b" * 3_200_000 + b"\nc\n" + b"d" * (most + 1))
    lines = run("--quiet", "cat blob").stdout.splitlines()
    assert [(line[:7], len(line) - 6) for line in lines] == [
        (b"cat | a", most),
        (b"cat | b", most),
        (b"cat | b", most),
        (b"cat | b", most),
        (b"cat | b", 3_200_000 - 3 * most),
        (b"cat | c", 1),
        (b"cat | d", most),
        (b"cat | d", 1),
    ]


def test_no_line_is_torn_by_another_even_where_both_streams_are_one() -> None:
    for letter in "abcd":
        Path(letter).write_bytes((letter.encode() * 9_999 + b"\n") * 200)
    commands = [f"sh -c 'cat {letter}; exec sleep 1000'" for letter in "ab"]
    commands += [f"sh -c 'cat {letter} >&2; exec sleep 1000'" for letter in "cd"]
    with started("--quiet", *commands, stderr=subprocess.STDOUT) as process:
        lines = [line.partition(b" | ")[2] for line in read_lines(process.stdout, 800)]
        process.terminate()
        end(process)
    assert sorted(lines) == sorted([letter * 9_999 for letter in (b"a", b"b", b"c", b"d")] * 200)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_loses_nothing(blocking: bool) -> None:
    # The pipe to us holds all of it, so `cat` exits; but the one from us does not.
    Path("blob").write_bytes(b"0\n" * 30_000)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, blocking)  # whoever shares an output can make it so
    with started("--quiet", "cat blob", stdout=write_end) as process:
        os.close(write_end)
        time.sleep(1.5)  # more than is given for the last words of what has been killed
        out = read_all(read_end)
        os.close(read_end)
        assert end(process)[0] == 0
    assert out == b"cat | 0\n" * 30_000


def test_a_name_that_is_no_text_is_shown_as_it_is() -> None:
    name = os.fsdecode(b"caf\xe9")
    Path(name).symlink_to("/bin/sh")
    done = run(f"./{name} -c 'echo hello'")
    assert done.stdout == b"caf\xe9 | hello\n"
    assert done.returncode == 0


def test_a_name_cannot_write_on_the_screen_what_is_not_its_own() -> None:
    name = "a\n\x1b[31m\x9bb"
    Path(name).symlink_to("/bin/sh")
    done = run(shlex.join([f"./{name}", "-c", "echo hello"]))
    assert done.stdout == b"a??[31m?b | hello\n"
    assert b"\x1b" not in done.stderr


def test_the_lines_stand_in_columns_whatever_the_names_are_written_in() -> None:
    Path("日本").symlink_to("/bin/sh")
    turned = "a\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069b"
    Path(turned).symlink_to("/bin/sh")
    commands = [f"./{name} -c 'echo hello; exec sleep 1000'" for name in ("日本", turned)]
    with started(*commands) as process:
        said = sorted(line.decode() for line in read_lines(process.stdout, 2))
        process.terminate()
        end(process)
    assert said == ["a?????????b | hello", "日本        | hello"]


def test_a_long_name_moves_its_own_lines_only() -> None:
    Path("a" * 200).symlink_to("/bin/sh")
    commands = [f"{name} -c 'echo hello; exec sleep 1000'" for name in ("./" + "a" * 200, "sh")]
    with started(*commands) as process:
        said = sorted(line.decode() for line in read_lines(process.stdout, 2))
        process.terminate()
        end(process)
    assert said == ["a" * 200 + " | hello", "sh" + " " * 22 + " | hello"]


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_commands_run_where_the_standard_streams_are_closed(closed: str) -> None:
    command = through_shell(f"exec {closed}")
    done = run("--quiet", "sh -c 'echo out; echo err >&2'", command=command)
    assert done.stdout == b""
    assert done.stderr == (b"sh | err\n" if closed == ">&-" else b"")
    assert done.returncode == 0


def test_a_file_opened_where_a_standard_stream_was_closed_is_not_written_into() -> None:
    # Where ctypes is imported, a newer libffi opens itself; trio imports ctypes.
    opens = "import os, runpy; os.open('file', os.O_RDWR | os.O_CREAT); runpy.run_module("
    program = opens + "'trio_rungroup', run_name='__main__')"
    command = ("sh", "-c", 'exec >&-; exec "$@"', "sh", sys.executable, "-c", program)
    done = run("--quiet", "sh -c 'echo out; echo err >&2'", command=command)
    assert done.stderr == b"sh | err\n"
    assert done.returncode == 0
    assert Path("file").read_bytes() == b""


# ---- who is stopped, and how ----


def test_the_first_to_exit_ends_the_rest_which_may_stop_in_order() -> None:
    done = run(SAYS_BYE.replace("echo ready", "touch here"), when("here", "exit 3"))
    assert done.stdout == b"sh    | bye\n"
    assert done.returncode == 3


def test_a_command_that_ignores_sigterm_is_killed_when_its_grace_has_ended() -> None:
    stubborn = STUBBORN.replace("echo ready", "touch here")
    done = run("--grace", "0.2", "--quiet", stubborn, when("here", "exit 3"))
    assert done.stderr == b"trio-rungroup: cancelled because the grace has ended: 'sh'\n"
    assert done.returncode == 3


def test_an_output_that_nobody_reads_does_not_hide_an_exit() -> None:
    waits = SAYS_BYE.replace("echo ready", "touch here").replace("echo bye", "touch stopped")
    first = when("here", "echo hello; exit 3")
    with (
        full_pipe() as (read_end, write_end),
        started("--quiet", waits, first, stdout=write_end) as process,
    ):
        os.close(write_end)
        assert wait_until(Path("stopped").exists)
        out = read_all(read_end)
        assert end(process)[0] == 3
    assert out.strip() == b"sh #2 | hello"


def test_a_closed_output_does_not_hide_the_status_of_the_first_command() -> None:
    with started(SAYS_BYE, when("here", "exit 3")) as process:
        assert process.stdout is not None
        read_lines(process.stdout, 1)
        process.stdout.close()
        Path("here").touch()
        assert process.wait(PATIENCE) == 3


def test_a_last_line_without_an_end_is_passed_on_while_others_run() -> None:
    command = ("--quiet", "--grace", "1000", STUBBORN, when("here", "printf two"))
    with started(*command) as process:
        read_lines(process.stdout, 1)
        Path("here").touch()
        read_until(process.stdout, b"two\n")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, b"received signal SIGINT")
        process.terminate()
        assert end(process)[0] == 0


def test_what_a_killed_command_wrote_last_is_passed_on() -> None:
    stubborn = "sh -c 'trap \"printf last\" TERM; touch here; while :; do sleep 0.05; done'"
    done = run("--grace", "0.5", stubborn, when("here", "exit 3"))
    assert done.stdout == b"sh    | last\n"


def test_a_command_that_fails_when_it_is_stopped_is_told_in_one_line() -> None:
    fails = "sh -c 'trap \"exit 5\" TERM; touch here; while :; do sleep 0.05; done'"
    done = run("--quiet", fails, when("here", "exit 3"))
    line = next(each for each in done.stderr.splitlines() if each.startswith(b"trio-rungroup: "))
    assert line.startswith(b"trio-rungroup: actor 'sh' raised an error after the stop had begun (")
    assert line.endswith(b"returned non-zero exit status 5.)")
    assert b"Traceback" not in done.stderr
    assert done.returncode == 3


def test_what_a_command_has_started_is_ended_with_it() -> None:
    # The fixture looks for what is left.
    done = run("sh -c 'sleep 1000 & sleep 1000 & touch here; wait'", when("here", "true"))
    assert done.returncode == 0


@pytest.mark.parametrize("program", ["sleep 1000", "yes"])
def test_a_grandchild_that_has_escaped_and_holds_the_pipes_does_not_hold_us(program: str) -> None:
    escape = f"subprocess.Popen('{program}'.split(), start_new_session=True)"
    done = run("--quiet", f'{sys.executable} -S -c "import subprocess; {escape}"')
    assert done.returncode == 0
    kill_all()  # `yes` may have died of its broken pipe by now


def test_a_server_serves_until_another_command_exits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    Path("page").write_text("hello")
    server = f"{sys.executable} -u -m http.server --bind 127.0.0.1 {port}"
    with started(server, when("asked", "true")) as process:
        read_until(process.stdout, b"Serving HTTP")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=PATIENCE) as page:
            assert page.read() == b"hello"
        Path("asked").touch()
        status, _, err = end(process)
    assert b'"GET /page HTTP/1.1" 200' in err
    assert status == 0


def test_a_hundred_commands_start_and_stop() -> None:
    with started(*[WAITS] * 100) as process:
        lines = read_lines(process.stdout, 100)
        process.terminate()
        status, _, err = end(process)
    assert len({*lines}) == 100
    assert err.count(b"  returned") == 40
    assert "… 60 more, all returned".encode() in err
    assert status == 128 + signal.SIGTERM


def test_five_hundred_short_commands_run_at_once_where_few_files_may_be_open() -> None:
    talks = [f"echo {number}" for number in range(500)]
    done = run("--grace", "60", *talks, command=through_shell("ulimit -S -n 1024"))
    assert done.returncode == 0
    assert b"the other 499 are interrupted" in done.stderr
    said = [line.split(b" | ") for line in done.stdout.splitlines()]
    assert said  # those that were ended before they could say it have said nothing
    assert len(said) == len({text for _, text in said} & {b"%d" % n for n in range(500)})


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_stops_all_in_order(number: signal.Signals) -> None:
    with started(SAYS_BYE, SAYS_BYE) as process:
        read_lines(process.stdout, 2)
        process.send_signal(number)
        status, out, err = end(process)
    assert sorted(out.splitlines()) == [b"sh    | bye", b"sh #2 | bye"]
    assert f"trio-rungroup: received signal {number.name}: stopping".encode() in err
    assert status == 128 + number


def test_a_second_signal_kills_all_at_once() -> None:
    with started("--grace", "1000", STUBBORN, STUBBORN) as process:
        read_lines(process.stdout, 2)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, b"received signal SIGINT")
        process.send_signal(signal.SIGTERM)
        status, _, err = end(process)
    assert b"grace has ended (asked a second time to stop): 'sh' 'sh #2'\n" in err
    assert err.count(b"  cancelled") == 2
    assert status == 128 + signal.SIGINT


def test_a_signal_sent_twice_at_once_as_timeout_does_is_one() -> None:
    bye = "echo term; sleep 0.2; echo bye; exit 0"
    with started("--grace", "1000", SAYS_BYE.replace("echo bye; exit 0", bye)) as process:
        read_lines(process.stdout, 1)
        for _ in range(3):
            process.terminate()
            time.sleep(0.005)
        status, out, _ = end(process)
    assert out == b"sh | term\nsh | bye\n"
    assert status == 128 + signal.SIGTERM


def test_the_same_signal_a_moment_later_is_the_second() -> None:
    with started("--grace", "1000", STUBBORN) as process:
        read_lines(process.stdout, 1)
        process.terminate()
        read_until(process.stderr, b"received signal SIGTERM")
        time.sleep(0.2)
        process.terminate()
        assert end(process)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("more", [(), (signal.SIGHUP, signal.SIGQUIT)])
def test_two_signals_at_the_same_moment_are_two(more: tuple[signal.Signals, ...]) -> None:
    with started("--grace", "1000", STUBBORN) as process:
        read_lines(process.stdout, 1)
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, *more, signal.SIGCONT):
            process.send_signal(number)
        assert end(process)[0] > 128


def test_a_terminal_that_hangs_up_twice_asks_once() -> None:
    bye = "echo term; until test -e go; do sleep 0.05; done; echo bye; exit 0"
    with started("--grace", "1000", SAYS_BYE.replace("echo bye; exit 0", bye)) as process:
        read_lines(process.stdout, 1)
        process.send_signal(signal.SIGHUP)
        read_until(process.stdout, b"term\n")
        time.sleep(0.2)  # later than any signal that is sent twice
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)  # it does nothing, and that cannot be waited for
        Path("go").touch()
        status, out, _ = end(process)
    assert out == b"sh | bye\n"
    assert status == 128 + signal.SIGHUP


def test_a_signal_that_comes_while_commands_are_being_started_is_not_lost() -> None:
    with started(*[WAITS] * 50) as process:
        read_lines(process.stdout, 1)
        process.terminate()
        assert end(process)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("other", "status"), [(FOREVER, 128 + signal.SIGTERM), (when("stubborn", "exit 3"), 3)]
)
def test_a_command_suspended_while_it_stops_tells_how_it_went_when_it_goes_on(
    other: str, status: int
) -> None:
    stubborn = "sh -c 'trap \"echo term\" TERM; touch stubborn; while :; do sleep 0.05; done'"
    with started("--grace", "0.5", stubborn, other) as process:
        assert wait_until(Path("stubborn").exists)
        if status == 3:
            read_until(process.stdout, b"term\n")  # the other one has exited
        process.terminate()
        said = read_until(process.stderr, b"received signal SIGTERM")
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)  # longer than the grace, and the second for the last words
        process.send_signal(signal.SIGCONT)
        ended, _, err = end(process)
    assert b"Traceback" not in said + err
    assert b"raised an error after the stop" not in said + err
    assert b"run() ends at " in err
    assert ended == status


def test_the_first_exit_settles_the_status_whatever_signals_come_later() -> None:
    stubborn = "sh -c 'trap \"echo term\" TERM; touch here; while :; do sleep 0.05; done'"
    with started("--grace", "1000", stubborn, when("here", "exit 3")) as process:
        read_until(process.stdout, b"term\n")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, b"received signal SIGINT")
        process.send_signal(signal.SIGTERM)
        assert end(process)[0] == 3


def test_a_signal_ends_the_wait_for_the_output_to_be_read() -> None:
    talks = "sh -c 'echo hello; echo ready >&2'"
    with full_pipe() as (_, write_end), started("--quiet", talks, stdout=write_end) as process:
        os.close(write_end)
        assert process.stderr is not None
        said = read_until(process.stderr, b"ready\n")
        while b"no longer waiting for the output to be read" not in said:
            process.send_signal(signal.SIGHUP)  # stops the command once, if it still runs
            for stream in select.select([process.stderr], [], [], 0.2)[0]:
                said += read_until(stream, b"\n")
        assert end(process)[0] in (0, 128 + signal.SIGHUP)


def test_many_signals_do_not_postpone_the_end() -> None:
    talks = "sh -c 'echo hello; echo ready >&2'"
    with full_pipe() as (_, write_end), started("--quiet", talks, stdout=write_end) as process:
        os.close(write_end)
        read_until(process.stderr, b"ready\n")
        give_up_at = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < give_up_at:
            process.send_signal(signal.SIGHUP)  # stops the command once, if it still runs
            time.sleep(0.1)
        assert process.poll() is not None
    wait_for_the_guard()  # the last one may have ended us


def test_a_second_signal_ends_the_wait_for_the_output_to_be_read() -> None:
    yes = "sh -c 'trap \"\" TERM; echo ready >&2; exec yes'"
    command = ("--quiet", "--grace", "1000", yes)
    with full_pipe() as (_, write_end), started(*command, stdout=write_end) as process:
        os.close(write_end)
        read_until(process.stderr, b"ready")
        process.terminate()
        read_until(process.stderr, b"received signal SIGTERM")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_a_signal_at_the_last_moment_does_not_keep_it_from_telling_how_it_went() -> None:
    code = """
import os, signal, trio, trio.testing
from trio_rungroup.__main__ import _signals

async def main():
    async with _signals():
        os.kill(os.getpid(), signal.SIGTERM)  # nobody waits for the next one any more
    await trio.testing.wait_all_tasks_blocked()

class AtTheVeryEnd:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

trio.run(main)
os.kill(os.getpid(), signal.SIGTERM)
os.at_the_very_end = AtTheVeryEnd()  # goes with its module, when Python has no handlers any more
print("lives")
"""
    done = run("-c", code, command=(sys.executable,))
    assert (done.stdout, done.returncode) == (b"lives\n", 0)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_sent_twice_does_not_keep_it_from_telling_how_it_went(
    number: signal.Signals,
) -> None:
    # The second one comes when the command has died of the first one, or soon after.
    for later in range(0, 40, 5):
        with started("--timeline", "picture.svg", WAITS) as process:
            read_lines(process.stdout, 1)
            process.send_signal(number)
            time.sleep(later / 1000)
            process.send_signal(number)
            status, _, err = end(process)
        assert b"run() ends at " in err
        assert Path("picture.svg").read_text().endswith("</svg>")
        assert status == 128 + number
        Path("picture.svg").unlink()


def test_a_signal_is_not_lost_whenever_it_comes_while_the_handlers_are_set() -> None:
    code = """
import os, signal, sys, trio
from trio_rungroup.__main__ import _signals

async def main():
    def strike(*_):  # at every call and return, but for those of its own
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    nth, countdown = 0, 0
    while countdown <= 0:
        nth += 1
        countdown = nth
        before = []
        signal.signal(signal.SIGTERM, lambda number, _: before.append(number))
        sys.setprofile(strike)
        async with _signals() as next_signal:
            sys.setprofile(None)
            if countdown <= 0 and not before:
                with trio.fail_after(30):
                    assert await next_signal() == signal.SIGTERM
    print(nth)

trio.run(main)
"""
    done = run("-c", code, command=(sys.executable,))
    assert (done.stderr, done.returncode) == (b"", 0)
    assert int(done.stdout) > 20


def test_commands_ignore_no_signal() -> None:
    assert ignored_signals(*COMMAND) == set()


def test_an_ignored_sigint_stays_ignored_as_in_the_background_of_a_script() -> None:
    background = through_shell("trap '' INT")
    assert ignored_signals(*background) == {signal.SIGINT}
    with started(SAYS_BYE, command=background) as process:
        read_lines(process.stdout, 1)
        process.send_signal(signal.SIGINT)
        process.terminate()
        assert end(process)[0] == 128 + signal.SIGTERM


def ignored_signals(*command: str) -> set[int]:
    done = run("--quiet", "grep SigIgn /proc/self/status", command=command)
    mask = int(done.stdout.split()[-1], 16)
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


# ---- in a terminal ----


def test_ctrl_c_in_a_terminal_stops_all_in_order_and_reaches_nobody_else() -> None:
    asks = SAYS_BYE.replace("trap", 'trap "echo int" INT; trap', 1)
    with terminal(asks, asks) as (process, keyboard):
        read_until(keyboard, b"sh   \x1b[0m | ready", b"sh #2\x1b[0m | ready")
        os.write(keyboard, b"\x03")
        screen = read_all(keyboard)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
    assert screen.count(b" | bye\r\n") == 2
    assert b" | int\r\n" not in screen
    assert b"\nreceived signal SIGINT; the 2 actors are interrupted\r\n" in screen
    assert b"Traceback" not in screen


def test_ctrl_c_twice_in_a_terminal_kills_all_at_once() -> None:
    with terminal("--grace", "1000", STUBBORN, STUBBORN) as (process, keyboard):
        read_until(keyboard, b"sh   \x1b[0m | ready", b"sh #2\x1b[0m | ready")
        os.write(keyboard, b"\x03")
        read_until(keyboard, b"a second signal kills")
        time.sleep(0.2)  # or it is the echo of the first
        os.write(keyboard, b"\x03")
        screen = read_all(keyboard)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
    assert screen.count(b"  cancelled") == 2
    assert b"Traceback" not in screen


def test_closing_the_terminal_leaves_nothing_behind() -> None:
    with terminal("--grace", "0.2", WAITS, STUBBORN) as (process, keyboard):
        read_until(keyboard, b"sh   \x1b[0m | ready", b"sh #2\x1b[0m | ready")
        os.close(keyboard)
        assert process.wait(PATIENCE) == 128 + signal.SIGHUP


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
def test_killing_the_command_kills_what_it_has_started() -> None:
    has_child = "sh -c 'trap \"\" TERM; sleep 1000 & echo ready; wait'"
    with started(WAITS, STUBBORN, has_child) as process:
        read_lines(process.stdout, 3)
        process.kill()
        status, _, err = end(process)
    assert (status, err) == (-signal.SIGKILL, b"")
    wait_for_the_guard()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
def test_killing_the_command_kills_what_it_has_started_where_there_is_no_source() -> None:
    package = Path(shutil.copytree(Path(trio_rungroup.__file__).parent, "trio_rungroup"))
    compileall.compile_dir(package, legacy=True, quiet=1)
    for source in package.glob("*.py"):
        source.unlink()
    with started(WAITS, STUBBORN) as process:  # finds it in the current directory
        read_lines(process.stdout, 2)
        process.kill()
        status, _, err = end(process)
    assert (status, err) == (-signal.SIGKILL, b"")
    wait_for_the_guard()


def killed(process: subprocess.Popen[bytes], *, words: bytes) -> int:
    """Do as `pkill -9 -f` does."""
    for pid, command_line in processes().items():
        if words in command_line:
            os.kill(pid, signal.SIGKILL)
    return end(process)[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
@pytest.mark.parametrize("words", [b"trio_rungroup", b"sleep 1000", b"python"])
def test_killing_all_that_has_some_words_in_its_command_line_does_not_kill_the_guard(
    words: bytes,
) -> None:
    with started(
        WAITS, STUBBORN, f"sh -c {shlex.quote('sleep 999 & echo ready; wait')}"
    ) as process:
        read_lines(process.stdout, 3)
        assert killed(process, words=words) == -signal.SIGKILL
    wait_for_the_guard()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_meant_for_the_command_does_not_end_the_guard(number: signal.Signals) -> None:
    with started(STUBBORN) as process:
        read_lines(process.stdout, 1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        guard = int(children.read_text())
        assert wait_until(lambda: Path(f"/proc/{guard}/comm").read_text("ascii") == "guard\n")
        os.kill(guard, number)
        process.kill()
        end(process)
    wait_for_the_guard()


def apart(script: str) -> str:
    """Make a command that runs a script in a process group of its own, and dies when told to."""
    return f"sh -c {shlex.quote(f'timeout 1000 sh -c {shlex.quote(script)}; true')}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_what_has_made_a_process_group_of_its_own_is_told_to_stop_at_the_end() -> None:
    script = "trap 'sleep 0.3; : > bye; exit' TERM; touch here; while :; do sleep 0.05; done"
    done = run("--quiet", apart(script), when("here", "exit 3"))
    assert done.returncode == 3
    assert Path("bye").exists()
    assert done.stderr.count(b"left behind") == 1
    assert b"trio-rungroup: stopping what the commands have left behind: " in done.stderr
    assert b" timeout (" in done.stderr
    assert b" sh (" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_it_is_told_once_and_has_the_grace_to_end_in() -> None:
    script = "trap 'echo told >>log' TERM; touch here; until test -e log; do sleep 0.02; done; "
    script += "sleep 0.3 && echo done >>log"
    in_a_group = "import os; os.setpgid(0, 0); os.execv('/bin/sh', ['sh', '-c', os.environ['S']])"
    command = f"sh -c {shlex.quote(f'{sys.executable} -c {shlex.quote(in_a_group)}; true')}"
    done = run("--quiet", command, when("here", "exit 3"), env={**os.environ, "S": script})
    assert done.returncode == 3
    assert Path("log").read_text().split() == ["told", "done"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_what_has_joined_our_own_process_group_is_told_alone() -> None:
    joins = "import os; os.setpgid(0, os.getpgid(int(os.environ['TRIO_RUNGROUP_PID']))); "
    joins += "os.execv('/bin/sh', ['sh', '-c', 'touch here; exec sleep 1000'])"
    command = f"sh -c {shlex.quote(f'{sys.executable} -c {shlex.quote(joins)}; true')}"
    done = run("--quiet", command, when("here", "exit 3"), start_new_session=True)
    assert done.returncode == 3
    assert b"stopping what the commands have left behind: s" in done.stderr
    assert b"received signal" not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_and_killed_when_it_does_not_even_if_nobody_reads_what_is_said_of_it() -> None:
    script = "trap '' TERM; touch here; while :; do sleep 0.05; done"
    with full_pipe() as (_, write_end):
        command = ("--quiet", "--grace", "0.3", apart(script), when("here", "exit 3"))
        with started(*command, stderr=write_end) as process:
            os.close(write_end)
            assert process.wait(PATIENCE) == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_it_has_ten_seconds_at_most_however_long_the_grace_is() -> None:
    script = "trap '' TERM; touch here; while :; do sleep 0.05; done"
    program = "import sys, trio_rungroup.__main__ as m; m._MOST_APART = 0.3; sys.exit(m.main())"
    command = (sys.executable, "-c", program)
    arguments = ("--grace", "1000", apart(script), when("here", "exit 3"))
    assert run(*arguments, command=command).returncode == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_a_second_signal_kills_that_at_once_too() -> None:
    script = "trap '' TERM; touch here; while :; do sleep 0.05; done"
    with started("--grace", "1000", apart(script), STUBBORN) as process:
        assert wait_until(Path("here").exists)
        read_lines(process.stdout, 1)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, b"received signal SIGINT")
        process.send_signal(signal.SIGTERM)
        assert end(process)[0] == 128 + signal.SIGINT


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_signals_are_attended_to_while_that_is_waited_for() -> None:
    script = "trap '' TERM; touch here; while :; do sleep 0.05; done"
    with started("--grace", "1000", apart(script), when("here", "exit 3")) as process:
        read_until(process.stderr, b"have left behind")
        process.send_signal(signal.SIGTERM)
        read_until(process.stderr, b"received signal SIGTERM")
        process.send_signal(signal.SIGINT)
        assert end(process)[0] == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_what_shares_its_process_group_is_killed_with_it_though_it_has_no_mark() -> None:
    script = "trap '' TERM; touch here; while :; do sleep 0.05; done"
    mark = f"TRIO_RUNGROUP_TEST={os.environ['TRIO_RUNGROUP_TEST']}"  # for the fixture to see
    hidden = f"env -i {mark} sh -c {shlex.quote(script)}"
    command = f"sh -c {shlex.quote(f'timeout 1000 {hidden}; true')}"
    assert run("--quiet", "--grace", "0.3", command, when("here", "exit 3")).returncode == 3
    # What has been sent SIGKILL takes a moment to die, where the machine is busy.
    assert wait_until(lambda: not processes())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is found in /proc")
def test_one_with_its_own_number_for_a_mark_does_not_end_itself() -> None:
    command = f"TRIO_RUNGROUP_PID=$$ exec {shlex.join(COMMAND)} --quiet true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
def test_killing_the_command_also_ends_one_that_runs_inside() -> None:
    with started(f"{shlex.join(COMMAND)} {shlex.quote(WAITS)}") as process:
        read_lines(process.stdout, 1)
        process.kill()
        end(process)
    wait_for_the_guard()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
def test_killing_all_that_has_the_commands_name_does_not_kill_the_guard() -> None:
    with started(WAITS) as process:
        read_lines(process.stdout, 1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        guard = Path(f"/proc/{int(children.read_text())}/comm")
        assert wait_until(lambda: guard.read_text("ascii") == "guard\n")
        process.kill()
        end(process)
    wait_for_the_guard()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard needs /proc")
def test_a_guard_that_is_stopped_does_not_hold_the_end_up() -> None:
    with started("sh -c 'echo ready; until test -e go; do sleep 0.05; done'") as process:
        read_lines(process.stdout, 1)  # before, there may be one that trio starts when imported
        # Of its main thread, that is: another one starts the commands.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGSTOP)
        Path("go").touch()
        assert end(process)[0] == 0


def test_names_are_coloured_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    with terminal("--quiet", "echo hello") as (_, keyboard):
        assert read_all(keyboard) == b"\x1b[0;36mecho\x1b[0m | hello\r\n"


def test_names_are_not_coloured_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("--quiet", "echo hello") as (_, keyboard):
        assert read_all(keyboard) == b"echo | hello\r\n"


def test_names_are_not_coloured_on_a_terminal_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal("--quiet", "echo hello") as (_, keyboard):
        assert read_all(keyboard) == b"echo | hello\r\n"


# ---- when the output fails ----


@pytest.mark.parametrize("stderr", [subprocess.PIPE, subprocess.STDOUT])
def test_a_closed_output_stops_all_in_order_without_a_traceback(stderr: int) -> None:
    bye = "sh -c 'trap \"touch bye; exit 0\" TERM; touch here; while :; do sleep 0.05; done'"
    with started(bye, when("here", "exec yes"), stderr=stderr) as process:
        assert process.stdout is not None
        read_until(process.stdout, b"y\n")
        process.stdout.close()
        err = read_all(process.stderr) if process.stderr is not None else b""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert Path("bye").exists()
    if stderr == subprocess.PIPE:
        assert b"\nnobody reads standard output; the 2 actors are interrupted\n" in err
    assert b"Exception" not in err
    assert b"Traceback" not in err


def test_a_full_disk_stops_all_in_order_and_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("yes", FOREVER, stdout=full)
    assert done.stderr.startswith(
        b"trio-rungroup: cannot write to standard output: No space left on device\n"
        b"\nstandard output failed; the 2 actors are interrupted\n"
    )
    assert done.returncode == 1


def test_where_nothing_can_be_told_the_status_still_tells_it() -> None:
    with Path("/dev/full").open("wb") as full:
        assert run("sh -c 'echo oops >&2'", stderr=full).returncode == 1
        assert run("--help", stdout=full, stderr=full).returncode == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_that_nobody_reads_does_not_keep_a_signal_from_stopping_all(stream: str) -> None:
    yes = "sh -c 'exec yes'" if stream == "stdout" else "sh -c 'exec yes >&2'"
    with started("--quiet", "--grace", "0.2", yes, FOREVER) as process:
        output = getattr(process, stream)
        waiting = b""
        while int.from_bytes(waiting, sys.byteorder) < 32768:  # more is not even begun
            waiting = fcntl.ioctl(output, termios.FIONREAD, bytes(4))
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        *lines, last = read_all(output).split(b"\n")
    # What we say ourselves is there if there was room for it.
    assert {line for line in lines if not line.startswith(b"trio-rungroup: ")} == {b"sh    | y"}
    assert b"sh    | y".startswith(last)  # given up halfway


def test_a_timeline_that_nobody_reads_does_not_keep_a_signal_from_ending_it() -> None:
    command = ("--grace", "0.2", WAITS)
    with full_pipe() as (read_end, write_end):
        os.read(read_end, 4096)
        os.write(
            write_end, bytes(3900)
        )  # there is room for what is said of the signal, and no more
        with started(*command, stderr=write_end) as process:
            os.close(write_end)
            read_lines(process.stdout, 1)
            process.terminate()
            assert process.wait(PATIENCE) == 128 + signal.SIGTERM


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells when it is over")
def test_ctrl_c_after_the_run_ends_the_wait_for_the_timeline_to_be_read() -> None:
    with full_pipe() as (read_end, write_end):  # which has no room for the timeline
        with started("sh -c 'echo done; exit 3'", stderr=write_end) as process:
            os.close(write_end)
            read_until(process.stdout, b"done\n")
            tasks = Path(f"/proc/{process.pid}/task")  # a thread has started the command

            def only_the_guard_is_left() -> bool:
                children = [file.read_text().split() for file in tasks.glob("*/children")]
                return sum(map(len, children)) == 1

            assert wait_until(only_the_guard_is_left)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 3
        assert read_all(read_end).strip() == b""


def test_ctrl_c_ends_the_wait_for_the_picture_to_be_read() -> None:
    with full_pipe() as (_, write_end):
        command = ("--timeline", f"/dev/fd/{write_end}", "sh -c 'exit 3'")
        with started(*command, pass_fds=(write_end,)) as process:
            os.close(write_end)
            read_until(process.stderr, b"first exit")
            process.send_signal(signal.SIGINT)
            status, _, err = end(process)
    assert b"cannot write the timeline: it is not read\n" in err
    assert status == 3


def test_one_signal_ends_the_wait_for_all_that_is_not_read() -> None:
    with full_pipe() as (_, out), full_pipe() as (_, picture):
        command = ("--timeline", f"/dev/fd/{picture}", "sh -c 'echo hello; echo ready >&2; exit 3'")
        with started(*command, stdout=out, pass_fds=(picture,)) as process:
            os.close(out)
            os.close(picture)
            said = read_until(process.stderr, b"ready\n")
            time.sleep(0.3)  # until the command has exited; if it has not, this stops it
            process.send_signal(signal.SIGINT)
            status, _, err = end(process)
    assert b"cannot write the timeline: it is not read\n" in said + err
    assert status in (3, 128 + signal.SIGINT)


def test_an_older_picture_is_kept_as_long_as_there_is_no_new_one() -> None:
    Path("picture.svg").write_text("before")
    code = "import sys, time, trio_rungroup; from trio_rungroup.__main__ import main; "
    code += "trio_rungroup.Record.to_svg = lambda _: time.sleep(3); sys.exit(main())"
    command = (sys.executable, "-c", code)
    with started("--timeline", "picture.svg", WAITS, command=command) as process:
        read_lines(process.stdout, 1)
        process.terminate()
        assert end(process)[0] == 128 + signal.SIGTERM
    assert Path("picture.svg").read_text() == "before"


# No thread can be started once there is a file, as when a user has as many processes as allowed.
NO_THREADS = """
import pathlib, sys, threading
import trio._core._thread_cache

def start(thread):
    if pathlib.Path("no-threads").exists():
        raise RuntimeError("can't start new thread")
    start_thread(thread)

start_thread, threading.Thread.start = threading.Thread.start, start
trio._core._thread_cache.IDLE_TIMEOUT = 0.1  # seconds that a thread is kept for later use
from trio_rungroup.__main__ import main
sys.exit(main())
"""


def test_a_command_for_which_no_thread_can_be_started_is_told_in_one_line() -> None:
    Path("no-threads").touch()
    done = run("--quiet", "sh -c 'exit 3'", command=(sys.executable, "-c", NO_THREADS))
    assert done.stderr == b"trio-rungroup: cannot start sh: can't start new thread\n"
    assert done.returncode == 126


def test_output_is_passed_on_where_no_thread_can_be_started_for_it() -> None:
    talks = "sh -c 'touch no-threads; sleep 1; echo hello; exit 3'"
    done = run("--quiet", talks, command=(sys.executable, "-c", NO_THREADS))
    assert (done.stdout, done.stderr, done.returncode) == (b"sh | hello\n", b"", 3)


# ---- exit status ----


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("sh -c 'exit 3'", 3), ("sh -c 'kill -KILL $$'", 128 + signal.SIGKILL)],
)
def test_the_exit_status_is_that_of_the_first_command_to_exit(command: str, status: int) -> None:
    assert run(command, FOREVER).returncode == status


@pytest.mark.parametrize(
    "arguments",
    [
        ("--", "--quiet"),
        ("--quiet", "--", "--quiet"),
        ("--", FOREVER, "--quiet"),
        (FOREVER, "--", "--"),
    ],
)
def test_what_comes_after_two_dashes_is_a_command(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("--quiet", "--"):
        Path(name).write_text("#!/bin/sh\nexit 3\n")
        Path(name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}:{os.environ['PATH']}")
    done = run(*arguments)
    assert done.returncode == 3
    assert (done.stderr == b"") == (arguments[0] == "--quiet")


def test_who_counts_on_a_shell_is_told_that_there_is_none() -> None:
    done = run("--quiet", "sh -c 'echo a && echo b'")
    assert (done.stdout, done.stderr) == (b"sh | a\nsh | b\n", b"")
    done = run("--quiet", "echo a '|' \\; x?a&b; 2>/dev/null >c && d")
    assert done.stdout == b"echo | a | ; x?a&b; 2>/dev/null >c && d\n"
    assert done.stderr.decode().splitlines() == [
        f"trio-rungroup: echo gets {word} as an argument (no shell runs it: where you need one, "
        "write 'sh -c \"...\"')"
        for word in ("x?a&b;", "2>/dev/null", ">c", "&&")
    ]


def test_who_cannot_be_told_of_a_shell_gets_what_he_wants_all_the_same() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("--quiet", "echo a && b", stderr=full)
    assert (done.returncode, done.stdout) == (0, b"echo | a && b\n")


def test_words_that_are_not_in_quotes_are_told_to_be() -> None:
    done = run("python", "-m", "http.server")
    assert done.returncode == 2
    # A newer argparse takes what follows -m for a COMMAND.
    told = rb"unrecognized arguments: -m( http.server)? \(each command is one argument, in quotes"
    assert re.search(told, done.stderr)


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "./" + "x" * 300, ""])
def test_nothing_is_started_when_a_program_is_not_found(program: str) -> None:
    for command, hint in ((f"'{program}'", "each command is"), (f"'{program}' x", "no shell")):
        done = run("touch started", command)
        assert done.returncode == 127
        named = program or "''"
        assert f"program not found: {named} ({hint}".encode() in done.stderr
        assert not Path("started").exists()


def test_nothing_is_started_when_a_file_is_not_executable() -> None:
    Path("script").write_text("#!/bin/sh\n")
    done = run("touch started", "./script")
    assert done.returncode == 126
    assert done.stderr == b"trio-rungroup: not executable: ./script (chmod +x makes it so)\n"
    assert not Path("started").exists()


def test_nothing_is_started_when_a_program_is_a_directory() -> None:
    done = run("touch started", "/bin")
    assert (done.returncode, done.stderr) == (126, b"trio-rungroup: is a directory: /bin\n")
    assert not Path("started").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no program, only words", b"Exec format error: './program'\n"),
        (
            "#!/no/such/interpreter\n",
            b"(the file is there; the interpreter that it names is not)\n",
        ),
    ],
)
def test_a_program_that_cannot_be_started_stops_the_others(text: str, why: bytes) -> None:
    Path("program").write_text(text)
    Path("program").chmod(0o755)
    done = run("--quiet", FOREVER, "./program")
    assert done.returncode == 126
    assert done.stderr.startswith(b"trio-rungroup: cannot start program: ")
    assert done.stderr.endswith(why)
    assert done.stderr.count(b"\n") == 1


def words_of_a_shell(command: str) -> bytes:
    """Tell what the shell of this machine makes of a command that expands nothing."""
    script = f"printf '<%s>' {command}"
    return subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    "words",
    [
        r"""one "two  three" 'four  five' """,
        r"""a"b"'c'\d\ e "" '' """,
        r""" "\$HOME" "\`date\`" "\"" "\\" "\\\$HOME" "\n" "\'" """,
        r""" '\$HOME' '\\' \$HOME \` \" \\ \' \a """,
        'a\\\nb "c\\\nd" \'e\\\nf\' "g\nh" ',
        r""" sh -c "echo \$\$ \"\$@\"" """,
    ],
)
def test_words_are_split_as_by_a_shell(words: str) -> None:
    done = run("--quiet", f"printf '<%s>' {words}")
    expected = words_of_a_shell(words)
    assert done.stdout == b"".join(b"printf | " + line + b"\n" for line in expected.split(b"\n"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), b"at least one COMMAND"),
        (("touch started", "sh -c 'oops"), b"No closing quotation"),
        (("touch started", ""), b"is empty"),
        (("touch started", "--grace", "-1"), b"must be 0 or more seconds, not '-1'"),
        (("touch started", "--grace", "nan"), b"must be 0 or more seconds, not 'nan'"),
        (("touch started", "--grace", "soon"), b"must be 0 or more seconds, not 'soon'"),
        (("touch started", "--timeline", "no/where.svg"), b"cannot write the timeline"),
        (
            ("touch started", "--timeline", "no/run.PNG"),
            b"--timeline: it is an SVG picture: write no/run.svg",
        ),
        (("touch started", "--no-such-option"), b"--no-such-option"),
        (("touch started", "--", ""), b"is empty"),
    ],
)
def test_nothing_is_started_when_the_arguments_are_wrong(
    arguments: tuple[str, ...], message: bytes
) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: trio-rungroup ")
    assert message in done.stderr
    assert not Path("started").exists()


def test_nothing_is_started_when_there_are_not_enough_pipes() -> None:
    done = run(*["touch started"] * 20, command=through_shell("ulimit -n 30"))
    assert done.returncode == 1
    said = b"trio-rungroup: [Errno 24] Too many open files (ulimit -n raises the limit)\n"
    assert done.stderr == said
    assert not Path("started").exists()


# ---- the timeline, and about itself ----


def test_the_timeline_stands_at_the_end_of_standard_error() -> None:
    done = run("sh -c 'echo oops >&2; exit 3'", FOREVER)
    oops, empty, title, ends, _, first, second, _ = done.stderr.decode().splitlines()
    assert (oops, empty, title) == ("sh    | oops", "", "sh exits first; the other is interrupted")
    assert ends.startswith("run() ends at ")
    assert first.startswith("* sh  ")
    assert second.startswith("  sleep  ")


def test_the_timeline_keeps_its_shape_where_the_locale_does_not_have_its_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    rows = run("sh -c 'exit 3'").stderr.splitlines()
    assert b"\\u" not in b"".join(rows)
    assert re.fullmatch(rb"\* sh  +\?+ +raised .*", rows[-2])


@pytest.mark.skipif(not hasattr(Record, "to_svg"), reason="no picture yet")
def test_the_picture_of_the_timeline_is_written_to_a_file() -> None:
    done = run("--timeline", "picture.svg", "--quiet", "sh -c 'exit 3'", FOREVER)
    assert (done.returncode, done.stderr) == (3, b"")
    assert "<svg" in Path("picture.svg").read_text(encoding="utf-8")


def test_an_older_picture_is_kept_until_there_is_a_new_one() -> None:
    Path("picture.svg").write_text("before " * 10_000)
    with started("--timeline", "picture.svg", WAITS) as process:
        read_lines(process.stdout, 1)
        process.kill()
        end(process)
    wait_for_the_guard()
    assert Path("picture.svg").read_text() == "before " * 10_000
    assert run("--timeline", "picture.svg", "--quiet", "true").returncode == 0
    assert Path("picture.svg").read_text().startswith("<svg")
    assert "before" not in Path("picture.svg").read_text()


def test_the_picture_can_be_written_into_a_pipe() -> None:
    done = run("--timeline", "/dev/stdout", "--quiet", "echo hello")
    assert done.returncode == 0
    assert done.stdout.startswith(b"echo | hello\n<svg")


def test_the_picture_stands_below_the_output_where_both_go_to_one_file() -> None:
    with Path("both").open("wb") as file:
        run("--timeline", "/dev/stdout", "--quiet", "echo hello", stdout=file)
    assert Path("both").read_text().startswith("echo | hello\n<svg")
    with Path("err").open("wb") as file:
        run("--timeline", "/dev/stderr", "--quiet", "sh -c 'echo hello >&2'", stderr=file)
    assert Path("err").read_text().startswith("sh | hello\n<svg")


@pytest.mark.parametrize(("command", "status"), [("true", 1), ("sh -c 'exit 3'", 3)])
def test_a_picture_that_cannot_be_written_does_not_hide_how_the_first_command_ended(
    command: str, status: int
) -> None:
    done = run("--timeline", "/dev/full", "--quiet", command)
    no_room = b"trio-rungroup: cannot write the timeline: [Errno 28] No space left on device\n"
    assert (done.returncode, done.stderr) == (status, no_room)


def test_help_teaches_with_an_example() -> None:
    done = run("--help")
    assert b"example:\n  trio-rungroup 'python -u -m http.server 8000' 'sleep 60'\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_that_nobody_reads_is_no_reason_for_a_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run("--help", stdout=write_end)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_it_tells_its_version() -> None:
    done = run("--version")
    assert done.stdout == f"trio-rungroup {version('trio-rungroup')}\n".encode()
    assert done.returncode == 0


def test_it_is_installed_as_a_command() -> None:
    (command,) = entry_points(group="console_scripts", name="trio-rungroup")
    assert command.load() is main


def test_it_runs_where_signals_are_ignored() -> None:
    ignore_all = through_shell("trap '' HUP INT QUIT TERM")
    assert run("--quiet", "sh -c 'exit 3'", command=ignore_all).returncode == 3
    code = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    code += "os.execvp(sys.argv[1], sys.argv[1:])"
    ignore_children = (sys.executable, "-c", code, *COMMAND)
    finished = run("--quiet", "sh -c 'exit 3'", command=ignore_children)
    assert (finished.returncode, finished.stderr) == (3, b"")
