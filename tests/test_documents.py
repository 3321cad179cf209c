"""Every block of the README is run, and the output it shows is what comes out."""

from __future__ import annotations

import ast
import contextlib
import functools
import http.client
import inspect
import math
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing
from hypercorn.config import Config
from runs import TAKES_TERMINAL

from trio_rungroup import RunGroup, SignalReceived, process_actor, signal_actor
from trio_rungroup.testing import check_actor

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


class Block(NamedTuple):
    language: str
    text: str
    line: int
    heading: str


def blocks_of(path: Path) -> list[Block]:
    found: list[Block] = []
    heading, language, start = "", None, 0
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if language is None:
                language, start = line[3:], number
            else:
                text = "\n".join(lines[start : number - 1]) + "\n"
                found.append(Block(language, text, start, heading))
                language = None
        elif line.startswith("#") and language is None:
            heading = line.strip("# ")
    return found


BLOCKS = blocks_of(README)
FIRST, *OTHERS = [block for block in BLOCKS if block.language in ("python", "text")]
RECIPES = [
    block
    for block in OTHERS
    if block.heading
    not in ("trio_rungroup", "The rule", "The interface", "Go and Python, side by side")
]


def without_times(text: str) -> str:
    """Mask what differs from run to run: the length of times, of bars and of padding."""
    text = re.sub(r"[\d.]+ (?:µs|ms|s)\b", "TIME", text)
    return re.sub(r" +", " ", re.sub("[━─]+", "━", text)).replace(" \n", "\n")


def run_recipe(block: Block, names: dict[str, Any]) -> None:
    code = compile("\n" * block.line + block.text, str(README), "exec")
    exec(code, names)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} == {"python", "text", "console", "go"}
    assert len(RECIPES) > 20


def test_links_within_the_readme_lead_somewhere() -> None:
    text = README.read_text("utf-8")
    headings = re.findall("^#+ (.*)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert links
    assert links <= anchors


@pytest.mark.usefixtures("handlers_restored")
def test_the_recipes_print_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for block, following in zip(RECIPES, [*RECIPES[1:], None], strict=True):
        if block.language == "python":
            run_recipe(block, names)
            shown = following.text if following and following.language == "text" else ""
            assert capsys.readouterr().out == shown, f"README.md, line {block.line}"
    for name in [name for name in names if name.startswith("test_")]:
        trio.run(names[name])


def test_the_interface_is_shown_with_its_names_and_defaults() -> None:
    (block,) = (b for b in OTHERS if b.heading == "The interface")
    for function in (RunGroup, RunGroup.add, RunGroup.interrupt):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                default = "math.inf" if parameter.default == math.inf else parameter.default
                assert f"{name}={default}" in block.text
    (block,) = (b for b in OTHERS if b.heading == "The rule")

    class Server:
        async def serve(self) -> None: ...
        async def shutdown(self, error: BaseException | None) -> None: ...

    group = RunGroup()
    exec(block.text, {"Server": Server, "group": group})
    trio.run(group.run)


def test_go_and_python_side_by_side_do_the_same() -> None:
    (block,) = (b for b in OTHERS if b.heading == "Go and Python, side by side")
    names: dict[str, Any] = {}
    exec(FIRST.text.partition("async def ticker")[0], names)
    exec(block.text.replace("8080", "0"), names)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(names["main"])
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGINT)

    with pytest.RaisesGroup(SignalReceived):
        trio.run(main)


def function_of_a_recipe(name: str) -> Any:
    names: dict[str, Any] = {}
    exec(RECIPES[0].text, names)
    for block in RECIPES:
        if f"def {name}(" in block.text:
            statements = ast.parse(block.text).body
            (function,) = (s for s in statements if getattr(s, "name", None) == name)
            exec(ast.unparse(function), names)
    return names[name]


@contextlib.asynccontextmanager
async def a_running_group(
    make: Any, answer: Any
) -> AsyncIterator[tuple[RunGroup, list[trio.SocketListener], trio.Nursery]]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    group = RunGroup()
    group.add(*make(answer, listeners))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            yield group, listeners, nursery


async def test_a_keep_alive_actor_answers_those_who_asked_before_they_were_accepted() -> None:
    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(request)

    make = function_of_a_recipe("keep_alive_actor")
    with contextlib.ExitStack() as stack:
        async with a_running_group(make, answer) as (group, listeners, _):
            address = listeners[0].socket.getsockname()
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(5)]
            for client in clients:
                client.sendall(b"in time")
            group.interrupt()
        assert [client.recv(100) for client in clients] == [b"in time"] * 5


async def test_a_keep_alive_actor_lets_idle_connections_go_and_answers_the_others() -> None:
    keep_alive_actor = function_of_a_recipe("keep_alive_actor")
    gone: list[bytes] = []

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        if request == b"last":
            group.interrupt()
            while len(gone) < 2:
                await trio.sleep(0.01)
        await stream.send_all(request)

    async def client(
        *requests: bytes, task_status: trio.TaskStatus = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with await trio.testing.open_stream_to_socket_listener(listeners[0]) as stream:
            for request in requests:
                await stream.send_all(request)
                assert await stream.receive_some() == request
            task_status.started()
            assert await stream.receive_some() == b""
            gone.append(requests[-1])

    async with a_running_group(keep_alive_actor, answer) as (group, listeners, nursery):
        await nursery.start(client, b"first")
        await nursery.start(client, b"first", b"second")
        nursery.start_soon(client, b"last")
    assert sorted(gone[:2]) == [b"first", b"second"]
    assert gone[2:] == [b"last"]

    made = [
        keep_alive_actor(answer, await trio.open_tcp_listeners(0, host="127.0.0.1"))
        for _ in range(3)
    ]
    await check_actor(made.pop)


async def test_a_keep_alive_actor_stops_though_a_client_asks_again_and_again() -> None:
    answered: list[bytes] = []

    async def answer(stream: trio.SocketStream, request: bytes) -> None:
        if request == b"3":
            group.interrupt()
            await trio.sleep(0.05)
        answered.append(request)
        await stream.send_all(request)

    make = function_of_a_recipe("keep_alive_actor")
    async with (
        a_running_group(make, answer) as (group, listeners, _),
        await trio.testing.open_stream_to_socket_listener(listeners[0]) as stream,
    ):
        with contextlib.suppress(trio.BrokenResourceError):
            number, received = 0, b"0"
            while received:  # pragma: no branch - the connection may be reset, too
                await stream.send_all(b"%d" % number)
                received = await stream.receive_some()
                number += 1
    assert answered == [b"0", b"1", b"2", b"3"]


async def test_a_consumer_that_fails_frees_the_thread_that_fills_its_channel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (block,) = (b for b in RECIPES if "from_thread.run(send.send" in b.text)
    code = block.text.replace(
        """
            stopping.wait()
            trio.from_thread.run(send.send, "dishes")
""",
        """
            while not stopping.is_set():
                trio.from_thread.run(send.send, "dishes")
""",
    )
    code = code.replace('print("did the", job)', "await fail(receive)").replace(
        "trio.run(main)", ""
    )
    assert code.count("while not") == code.count("await fail") == 1

    async def fail(receive: trio.MemoryReceiveChannel[str]) -> None:
        while not receive.statistics().tasks_waiting_send:
            await trio.sleep(0.001)
        raise OSError("laundry")

    names: dict[str, Any] = {"fail": fail}
    exec(RECIPES[0].text, names)
    exec(code, names)
    monkeypatch.setitem(names, "timer", trio.sleep_forever)
    with trio.fail_after(5), pytest.raises(OSError, match="laundry"):  # the grace is 10 s
        await names["main"]()
    (logged,) = caplog.records
    assert logged.exc_info is not None
    assert logged.exc_info[0] is trio.BrokenResourceError


@pytest.mark.parametrize("limit", [0.1, math.inf])
async def test_what_an_actor_cleans_up_has_the_time_of_its_grace(
    autojump_clock: trio.testing.MockClock, limit: float
) -> None:
    closed: list[float] = []

    async def close() -> None:
        await trio.sleep(3)
        closed.append(trio.current_time() - start)

    group = RunGroup()
    make = function_of_a_recipe("with_cleanup")
    group.add(*make(trio.sleep_forever, close), grace=5)
    group.add(functools.partial(trio.sleep, 1))
    start = trio.current_time()
    with trio.move_on_after(limit) as scope:
        await group.run()
    assert scope.cancelled_caught == (limit < 1)
    assert closed == [min(limit, 1) + 3]


async def test_what_the_recipes_make_of_an_actor_is_an_actor() -> None:
    in_turn, restarted = map(function_of_a_recipe, ("in_turn", "restarted"))
    with_cleanup = function_of_a_recipe("with_cleanup")
    await check_actor(lambda: with_cleanup(trio.sleep_forever, trio.lowlevel.checkpoint))

    async def fail() -> None:
        raise OSError

    def sleeper() -> Any:
        stopped = trio.Event()
        return stopped.wait, lambda error: stopped.set()

    def process() -> Any:
        return process_actor(["sleep", "60"])

    await check_actor(lambda: in_turn(*sleeper()))
    await check_actor(lambda: in_turn(*process()))
    await check_actor(lambda: restarted(sleeper))
    await check_actor(lambda: restarted(process))
    await check_actor(lambda: restarted(lambda: (trio.sleep_forever, None)))
    await check_actor(lambda: restarted(lambda: (fail, None), delay=0.01))
    await check_actor(lambda: restarted(lambda: (fail, None), delay=60))  # stopped in the pause


async def test_what_fails_as_it_stops_is_not_started_again(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[float] = []
    start = trio.current_time()

    def make() -> Any:
        stopped = trio.Event()

        async def execute() -> None:
            attempts.append(trio.current_time() - start)
            with trio.move_on_after(3):
                await stopped.wait()
            raise OSError(f"failed at {attempts[-1]:g} s")

        return execute, lambda error: stopped.set()

    group = RunGroup()
    group.add(*function_of_a_recipe("restarted")(make, delay=2), name="poll")
    group.add(functools.partial(trio.sleep, 6), name="timer")
    await group.run()
    assert attempts == [0, 5]
    (logged,) = caplog.records
    assert logged.exc_info is not None
    assert str(logged.exc_info[1]) == "failed at 5 s"


@pytest.mark.parametrize(
    ("with_signal_actor", "end"),
    [pytest.param(True, 2, id="signal_actor"), pytest.param(False, 61, id="none")],
)
def test_in_a_nursery_it_takes_a_signal_actor_for_a_second_ctrl_c_to_reach_the_group(
    with_signal_actor: bool, end: float
) -> None:
    async def press_ctrl_c_twice() -> None:
        for _ in range(2):
            await trio.sleep(1)
            signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        group = RunGroup(grace=60)
        group.add(trio.sleep_forever, lambda error: None)
        if with_signal_actor:
            group.add(*signal_actor())
        trio.lowlevel.spawn_system_task(press_ctrl_c_twice)
        start = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(group.run)
        finally:
            assert trio.current_time() - start == end

    both = pytest.RaisesGroup(KeyboardInterrupt, SignalReceived)
    with both if with_signal_actor else pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_web_server_answers_the_request_in_flight_and_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (block,) = (b for b in RECIPES if b.heading == "Serve a web application")
    program = re.sub("^# ", "", block.text, flags=re.MULTILINE)  # its last lines, too
    events: list[str] = []
    assert Config.graceful_timeout == 3
    monkeypatch.setattr(Config, "graceful_timeout", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in "startup", "shutdown":
                assert (await receive())["type"] == f"lifespan.{event}"
                events.append(event)
                await send({"type": f"lifespan.{event}.complete"})
            return
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(0.2)  # longer than hypercorn waits of itself
        events.append("response")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in time"})

    def get() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    ours = f'bind="fd://{sock.detach()}", errorlog=None'
    assert 'bind="127.0.0.1:8000"' in program
    program = program.replace('bind="127.0.0.1:8000"', ours)
    names: dict[str, Any] = {"app": app}
    exec(RECIPES[0].text, names)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get)
        with pytest.raises(SystemExit) as caught:
            exec(program, names)
        assert answer.result() == (200, b"in time")
    assert caught.value.code == 128 + signal.SIGTERM
    assert events == ["startup", "response", "shutdown"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def read_until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 4096).decode()
    return shown


def test_the_first_program_prints_what_the_readme_says(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    assert "open_tcp_listeners(8765)" in FIRST.text
    program.write_text(FIRST.text.replace("8765", f"{port}"))  # that may be another one's
    assert len(FIRST.text.splitlines()) <= 28
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TAKES_TERMINAL, sys.executable, program],  # a Ctrl-C there is a SIGINT for it
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = read_until(terminal, "tick\r\ntick\r\n")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # the other end is closed
        while True:
            shown += os.read(terminal, 4096).decode()
    os.close(terminal)
    assert process.wait() == 130
    expected = next(block.text for block in OTHERS if block.language == "text")
    shown = re.sub("(tick\n)+", "tick\ntick\n", shown.replace("\r\n", "\n"))
    assert without_times(shown) == without_times(expected)


def test_the_first_program_draws_the_bars_that_the_readme_shows() -> None:
    async def receive_a_signal() -> None:
        await trio.sleep(2.5)
        raise SignalReceived(signal.SIGINT)

    group, stopping = RunGroup(), trio.Event()
    group.add(receive_a_signal, name="signal_actor")
    group.add(stopping.wait, lambda _: stopping.set(), name="listener_actor")
    group.add(trio.sleep_forever, name="ticker")
    with pytest.raises(SignalReceived):
        trio.run(group.run, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = next(block.text for block in OTHERS if block.language == "text")
    assert f"{group.record}\n" == expected.partition("^C")[2]


PICTURE = ROOT / "notebooks" / "timeline.svg"


def picture() -> str:
    """Draw what the README shows; `python tests/test_documents.py` writes it there."""
    told = trio.Event()

    async def poller() -> None:
        await trio.sleep(3)
        raise ConnectionError("the database has gone")

    async def server() -> None:
        await told.wait()
        await trio.sleep(3)

    async def journal() -> None:
        await told.wait()
        await trio.sleep(1)
        raise OSError("the disk is full")

    group = RunGroup()
    group.add(server, lambda _: told.set(), name="server", grace=10)
    group.add(poller, name="poller")
    group.add(trio.sleep_forever, name="ticker")
    group.add(journal, lambda _: None, name="journal", grace=10)
    group.add(trio.sleep_forever, lambda _: None, name="worker", grace=5)
    with contextlib.suppress(ConnectionError):
        trio.run(group.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert group.record is not None
    return group.record.to_svg() + "\n"


def test_the_picture_is_what_the_library_draws_now() -> None:
    assert PICTURE.read_text("utf-8") == picture()
    assert PICTURE.relative_to(ROOT).as_posix() in README.read_text("utf-8")


def test_the_gate_runs_the_readmes_test_command() -> None:
    commands = [block.text.strip() for block in BLOCKS if block.language == "console"]
    (command,) = (command for command in commands if command.endswith("python -m pytest"))
    gate = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in gate or command in gate


if __name__ == "__main__":  # pragma: no cover
    PICTURE.write_text(picture(), "utf-8")
