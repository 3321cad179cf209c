"""Every notebook is run from a fresh kernel; what a reader sees is what is stored.

`python notebooks/refresh.py` stores it anew. What is checked beyond that is what can be
counted of a good notebook; what cannot, somebody has looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
from runs import on_oldest_and_newest, once_is_enough

import trio_rungroup
from trio_rungroup import RunGroup

Cell: TypeAlias = dict[str, Any]

really_sleep = time.sleep  # which an attempt replaces
FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PACKAGE = Path(trio_rungroup.__file__).parent
NAMES = [path.stem for path in NOTEBOOKS]
LESSONS = [name for name in NAMES if not name.startswith("00")]

every_notebook = pytest.mark.parametrize("name", NAMES)
every_lesson = pytest.mark.parametrize("name", LESSONS)


def read(name: str, folder: Path = FOLDER) -> list[Cell]:
    content: dict[str, Any] = json.loads((folder / f"{name}.ipynb").read_text("utf-8"))
    assert set(content["metadata"]) == {"kernelspec"}, "run notebooks/refresh.py"
    cells: list[Cell] = content["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return cells


def code_of(name: str) -> list[Cell]:
    return [cell for cell in read(name) if cell["cell_type"] == "code"]


def text_of(name: str) -> str:
    return "\n\n".join(c["source"] for c in read(name) if c["cell_type"] == "markdown")


def seen(cell: Cell) -> list[tuple[str, str]]:
    """What a reader sees of a cell's outputs: text, pictures, errors with the lines they name."""
    parts: list[tuple[str, str]] = []
    if "varies" in cell["metadata"].get("tags", ()):  # real time, which no two runs share
        return parts
    for output in cell.get("outputs", ()):
        match output["output_type"]:
            case "stream":
                parts.append((output["name"], "".join(output["text"])))
            case "error":
                parts.append((output["ename"], "\n".join(output["traceback"])))
            case _:
                parts += [(kind, "".join(content)) for kind, content in output["data"].items()]
    return parts


@pytest.fixture(scope="module", autouse=True)
def _not_measured_in_kernels_and_clusters() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All notebooks as they are after a run, each in a kernel of its own, two at a time."""
    folder = tmp_path_factory.mktemp("notebooks")
    command = [sys.executable, str(FOLDER / "refresh.py"), "--to", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_there_are_notebooks() -> None:
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(len(NAMES))]
    assert len(LESSONS) == 10  # what runs for each of them below has run


# ---- they run, and are what is stored ----


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Python words its errors anew")
@every_notebook
def test_a_run_shows_what_is_stored(name: str, fresh: Path) -> None:
    stored, ran = ([*map(seen, read(name, folder))] for folder in (FOLDER, fresh))
    assert ran == stored, "python notebooks/refresh.py stores it anew"


@on_oldest_and_newest
def test_all_of_them_run(fresh: Path) -> None:
    assert sorted(path.stem for path in fresh.glob("*.ipynb")) == NAMES


@every_notebook
def test_nothing_is_written_to_stderr_and_only_a_cell_that_says_so_fails(name: str) -> None:
    for cell in code_of(name):
        kinds = [output["output_type"] for output in cell["outputs"]]
        may_fail = "raises-exception" in cell["metadata"].get("tags", ())
        assert ("error" in kinds) == may_fail, cell["id"]
        assert "stderr" not in [output.get("name") for output in cell["outputs"]], cell["id"]
        # An error that a library prints for itself, or a path of one's own machine.
        assert not re.search(r"Traceback|/home/|/tmp/|/site-packages/", str(seen(cell))), cell["id"]


@every_notebook
def test_every_cell_was_run_once_from_the_top_and_keeps_its_id(name: str) -> None:
    assert [cell["execution_count"] for cell in code_of(name)] == [
        number for number, _ in enumerate(code_of(name), 1)
    ]
    ids = [cell["id"] for cell in read(name)]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(rf"{name[:2]}-\d\d\w?", cell_id) for cell_id in ids)
    assert {key for cell in read(name) for key in cell["metadata"]} <= {"tags"}


@every_notebook
def test_a_picture_stands_beside_the_same_as_text(name: str) -> None:
    for cell in code_of(name):
        for output in cell["outputs"]:
            data = output.get("data", {})
            assert "image/svg+xml" not in data or "text/plain" in data


# ---- what can be counted of a good notebook ----


@every_notebook
def test_its_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https://)([^)\s]+)\)", text_of(name))
    assert [link for link in links if not leads_somewhere(FOLDER / f"{name}.ipynb", link)] == []


def leads_somewhere(notebook: Path, link: str) -> bool:
    file, _, heading = link.partition("#")
    # Where the wheel is tested, the package does not lie beside the notebooks.
    above = "../trio_rungroup/"
    folder = PACKAGE if file.startswith(above) else FOLDER
    target = folder / file.removeprefix(above) if file else notebook
    if not target.is_file():
        return False
    return heading in ["", *(headings_of(target.stem) if target in NOTEBOOKS else ())]


def test_a_link_to_nowhere_is_found() -> None:
    notebook = NOTEBOOKS[0]
    heading = headings_of(notebook.stem)[-1]
    assert leads_somewhere(notebook, f"#{heading}")
    assert leads_somewhere(NOTEBOOKS[1], f"{notebook.name}#{heading}")
    assert leads_somewhere(notebook, "solution_01.py")
    assert leads_somewhere(notebook, "../trio_rungroup/_group.py")
    for link in (
        "#No-such-heading",
        "99_none.ipynb",
        f"{notebook.name}#none",
        "helpers.py#run",
        "../trio_rungroup/_none.py",
    ):
        assert not leads_somewhere(notebook, link)


def headings_of(name: str) -> list[str]:
    """Name the headings as JupyterLab does."""
    return [h.replace(" ", "-") for h in re.findall(r"(?m)^#+ (.+)$", text_of(name))]


@every_lesson
def test_it_begins_and_ends_as_all_of_them_do(name: str) -> None:
    number = NAMES.index(name)
    back = f"[← back]({NAMES[number - 1]}.ipynb) · [contents]({NAMES[0]}.ipynb)"
    texts = [cell["source"] for cell in read(name) if cell["cell_type"] == "markdown"]
    assert re.match(rf"# {name[:2]} · \S.*\n", texts[0])
    assert back in texts[0]
    assert back in texts[-1]
    if number + 1 < len(NAMES):
        following = f" · [next →]({NAMES[number + 1]}.ipynb)"
        assert back + following in texts[0]
        assert back + following in texts[-1]
    assert "After this notebook you can" in texts[0]
    assert re.search(r"\d+ minutes", texts[0])
    summary = re.search(r"(?ms)^## Summary$\n(.*?)(?=^\[←)", texts[-1])
    assert summary
    assert len(re.findall(r"(?m)^(?:- |\d\. )", summary[1])) == 3


@every_lesson
def test_the_contents_name_the_same_minutes(name: str) -> None:
    minutes = re.search(r"(\d+) minutes", text_of(name))
    row = re.search(rf"\({name}\.ipynb\) \|.*\| (\d+) \|", text_of(NAMES[0]))
    assert minutes
    assert row
    assert row[1] == minutes[1]


@every_lesson
def test_it_says_predict_and_tweak_in_headings(name: str) -> None:
    text = text_of(name)
    assert len(re.findall(r"(?m)^### Predict, then run$", text)) >= 2
    assert re.search(r"(?m)^### Tweak this \w+$", text)
    assert not re.search(r"\*\*(Predict|Tweak)", text)


@every_lesson
def test_its_cells_are_short(name: str) -> None:
    lengths = [len(cell["source"].splitlines()) for cell in code_of(name)]
    assert lengths[0] <= 6, "the first cell only imports"
    assert max(lengths) <= 25
    assert statistics.median(lengths) < 10


@every_lesson
def test_it_shows_fails_once_and_lets_the_reader_try(name: str) -> None:
    text = text_of(name)
    assert "What you see" in text
    assert re.search(r"(?m)^#+ .*Exercise", text)
    assert f"[solution](solution_{name[:2]}.py)" in text
    outputs = [output for cell in code_of(name) for output in cell["outputs"]]
    assert any("image/svg+xml" in output.get("data", ()) for output in outputs)
    failing = [c for c in code_of(name) if "raises-exception" in c["metadata"].get("tags", ())]
    assert len(failing) == 1
    before = read(name)[[cell["id"] for cell in read(name)].index(failing[0]["id"]) - 1]
    assert re.search(r"(?i)meant to fail", before["source"]), "says so just before"


# ---- the exercises ----


@pytest.fixture(autouse=True)
def _notebooks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in [*sys.modules]:
        if name.startswith(("helpers", "exercises_", "solution_")):
            del sys.modules[name]


def module_of(kind: str, name: str) -> ModuleType:
    module = importlib.import_module(f"{kind}_{name[:2]}")
    if module.__name__ == "exercises_09":  # which takes real time: four seconds for each answer
        vars(module)["make_clock"] = functools.partial(trio.testing.MockClock, rate=3)
    return module


def printed_by(check: Callable[[object], None], attempt: object) -> str:
    began = time.monotonic()
    # Coverage does not measure the exercises, and watching them takes three times as long. It is
    # stopped and goes on in one and the same frame, or it would lose its place.
    coverage, in_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(None)  # pyright: ignore[reportArgumentType]
    sys.settrace(None)
    try:  # pragma: no cover
        with contextlib.redirect_stdout(io.StringIO()) as out:
            check(attempt)
    finally:
        sys.settrace(coverage)  # pragma: no cover - it does not see how it is switched on
        threading.settrace(in_threads)  # pyright: ignore[reportArgumentType]
    assert time.monotonic() - began < 60, "a learner is told soon, also on a busy machine"
    return out.getvalue()


def function_of(name: str) -> str:
    """The name of what the learner writes, and hands to `check`."""
    sources: str = "\n".join(c["source"] for c in code_of(name))
    checked: list[str] = re.findall(r"(?m)^check\((\w+)\)$", sources)
    return checked[0]


def stub_of(name: str) -> str:
    """What the learner finds of it."""
    begins = re.compile(rf"(async )?def {function_of(name)}\(")
    sources: list[str] = [c["source"] for c in code_of(name)]
    [stub] = filter(begins.match, sources)
    assert "raise NotImplementedError" in stub
    return stub


@every_lesson
def test_the_solution_passes_its_check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solution = getattr(module_of("solution", name), function_of(name))
    exercises = module_of("exercises", name)
    monkeypatch.setattr(exercises, "make_clock", lambda: None, raising=False)
    shown = printed_by(exercises.check, solution)
    assert "✓" in shown
    assert "✗" not in shown


@every_lesson
@once_is_enough
def test_other_right_answers_pass_too(name: str) -> None:
    exercises = module_of("exercises", name)
    for answer in getattr(exercises, "ALSO_RIGHT", ()):
        shown = printed_by(exercises.check, answer)
        assert "✗" not in shown, answer
        assert "catches `Cancelled`" not in " ".join(shown.split()), answer


@once_is_enough
@pytest.mark.parametrize(
    ("call", "right", "with_the_name"),
    [
        ("02 check(collect)", "index, function)\n", "index, function, name=function.__name__)\n"),
        ("04 check(first_error)", '"another one has failed"', "async_fn.__name__"),
        ("05 check_race(race)", '"somebody has won"', "async_fn.__name__"),
    ],
)
def test_an_answer_may_ask_for_the_name_of_a_function(
    call: str, right: str, with_the_name: str
) -> None:
    number, _, call = call.partition(" ")
    source = with_a_slip(number, right, with_the_name)
    shown = shown_for(module_of("exercises", number), call, source)
    assert "✓" in shown
    assert "✗" not in shown


def test_what_is_right_by_the_order_in_a_group_is_told_so() -> None:
    exercises = module_of("exercises", "04")
    for answer in exercises.ALSO_RIGHT:
        shown = printed_by(exercises.check, answer)
        told = "One nursery deeper" in " ".join(shown.split())
        assert told == (answer in exercises.RIGHT_HERE_ONLY), answer
    right = module_of("solution", "04").first_error
    assert "deeper" not in printed_by(exercises.check, right)


@every_lesson
def test_what_the_learner_finds_fails_with_a_hint(name: str) -> None:
    cells = code_of(name)
    stub = [cell["source"] for cell in cells].index(stub_of(name))
    [shown] = [text for _, text in seen(cells[stub + 1])]
    assert "✗" in shown
    assert "Hint" in shown


@every_lesson
@once_is_enough
def test_typical_mistakes_are_found(name: str) -> None:
    exercises = module_of("exercises", name)
    assert len(exercises.MISTAKES) >= 3
    for mistake in exercises.MISTAKES:
        shown = printed_by(exercises.check, mistake)
        assert "✗" in shown, mistake
        assert re.search(r"(?i)\bhint\b", shown), mistake
    assert any("hang" in mistake.__name__ for mistake in exercises.MISTAKES)


# What people write, and words that the first hint must have; `!` before one that it must not.
HINTS: list[tuple[str, str, str, list[str]]] = [
    (
        "01 runs the group",
        "check(make_group)",
        """
        def make_group():
            return RunGroup().run()
        """,
        ["do not run it", "!async"],
    ),
    (
        "01 calls make_group",
        "check(make_group())",
        """
        def make_group():
            return RunGroup()
        """,
        ["check(make_group)", "brackets"],
    ),
    (
        "02 starts a call",
        "check(collect)",
        """
        async def collect(functions):
            async with trio.open_nursery() as nursery:
                for f in functions:
                    nursery.start_soon(f())
        """,
        ["the function and its arguments", "!incorrect!"],
    ),
    (
        "01 returns nothing, and is called",
        "check(make_group())",
        """
        def make_group():
            group = RunGroup()
        """,
        ["check was handed None", "`return group`", "!raised"],
    ),
    (
        "01 returns the class",
        "check(make_group)",
        """
        def make_group():
            return RunGroup
        """,
        ["the brackets are missing"],
    ),
    (
        "01 adds to the class",
        "check(make_group)",
        """
        def make_group():
            group = RunGroup
            group.add(server)
            return group
        """,
        ["Are the brackets missing"],
    ),
    (
        "10 has a checkpoint between an error and its nursery",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            async def feed(items, send):
                async with send:
                    for item in items:
                        await send.send(item)
            async def worker(recv, results):
                async for item in recv:
                    await results.send(await work(item))
            async def run_workers(recv, results):
                async with results, recv:
                    async with trio.open_nursery() as nursery:
                        for _ in range(workers):
                            nursery.start_soon(worker, recv, results)
            send, recv = trio.open_memory_channel(0)
            results, done = trio.open_memory_channel(0)
            out = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed, items, send)
                nursery.start_soon(run_workers, recv, results)
                async for r in done:
                    out.append(r)
            return out
        """,
        ["✗ an error of work comes out at once", "The end of an `async with` for a channel"],
    ),
    (
        "06 has a plain function that loops",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            def execute():
                while not stopping.is_set():
                    report().close()
                    with trio.move_on_after(3600):
                        stopping.wait().close()
            return execute, lambda error: stopping.set()
        """,
        ["is `execute` an `async def`?"],
    ),
    (
        "06 counts the hour from the beginning",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                due = 0
                while not stopping.is_set():
                    await report()
                    due += 3600
                    with trio.move_on_at(due):
                        await stopping.wait()
            return execute, lambda error: stopping.set()
        """,
        ["is it counted from the beginning of a report"],
    ),
    (
        "06 begins another report",
        "check(make_reporter)",
        """
        def make_reporter(report):
            scope = trio.CancelScope()
            async def execute():
                with scope:
                    while True:
                        try:
                            await report()
                        except trio.Cancelled:
                            with trio.move_on_after(5, shield=True):
                                await report()
                            raise
                        await trio.sleep(3600)
            return execute, lambda error: scope.cancel()
        """,
        ["was broken off, and another one begun", "!it is `execute` that reports"],
    ),
    (
        "06 calls make_reporter",
        "check(make_reporter(print))",
        """
        def make_reporter(report):
            async def execute():
                await report()
            return execute, lambda error: None
        """,
        ["hand over the function itself"],
    ),
    (
        "07 loses an error of the last flush",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    with trio.move_on_after(30):
                        await cancel.wait()
                    if not cancel.is_set():
                        await flush()
                try:
                    await flush()
                except Exception as error:
                    print("the rest is lost:", error)
            return execute, lambda error: cancel.set()
        """,
        ["✗ and so does an error of the last flush", "let the error out as itself"],
    ),
    (
        "07 starts flushes",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                async with trio.open_nursery() as nursery:
                    while True:
                        with trio.move_on_after(30):
                            await cancel.wait()
                        nursery.start_soon(flush)
                        if cancel.is_set():
                            return
            return execute, lambda error: cancel.set()
        """,
        ["awaits each one before the next"],
    ),
    (
        "07 flushes in the interrupt, behind a lock",
        "check(flusher)",
        """
        def flusher(flush):
            busy, scope = trio.Lock(), trio.CancelScope()
            async def execute():
                with scope:
                    while True:
                        await trio.sleep(30)
                        async with busy:
                            await flush()
            async def interrupt(error):
                async with busy:
                    scope.cancel()
                    await flush()
            return execute, interrupt
        """,
        ["is called after an error of the actor's own, too"],
    ),
    (
        "09 dies of a client that says nothing",
        "check(make_service)",
        """
        from trio_rungroup import listener_actor, signal_actor
        def make_service(listeners):
            async def handle(stream):
                try:
                    with trio.fail_after(1):
                        await answer(stream)
                except (UnicodeDecodeError, trio.BrokenResourceError):
                    pass
            group = RunGroup(grace=1)
            group.add(*signal_actor())
            group.add(*listener_actor(handle, listeners))
            return group
        """,
        ["✓ it answers a request", "✗ a request that cannot", "TooSlowError", "Catch it in the"],
    ),
    (
        "09 begins anew after an error",
        "check(make_service)",
        """
        from trio_rungroup import signal_actor
        def make_service(listeners):
            accepting = trio.CancelScope()
            async def one(stream):
                async with stream:
                    await answer(stream)
            async def serve():
                while not accepting.cancel_called:
                    try:
                        async with trio.open_nursery() as nursery:
                            with trio.CancelScope() as scope:
                                scopes.append(scope)
                                while True:
                                    nursery.start_soon(one, await listeners[0].accept())
                    except* Exception:
                        pass
            def stop(error):
                accepting.cancel()
                scopes[-1].cancel()
                listeners[0].socket.close()
            scopes = []
            group = RunGroup(grace=1)
            group.add(*signal_actor())
            group.add(serve, stop)
            return group
        """,
        ["✗ also not while the other one is under way", "cancels the other handlers"],
    ),
    (
        "05 keeps one object for each exit",
        "check(run_group)",
        """
        async def run_group(actors):
            exits, first = [], trio.Event()
            async def run_one(execute):
                try:
                    kept = await execute()
                except Exception as error:
                    kept = error
                exits.append(kept)
                first.set()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(run_one, execute)
                if actors:
                    await first.wait()
                for _, interrupt in actors:
                    error = exits[0] if isinstance(exits[0], Exception) else None
                    await interrupt(error)
            if exits and isinstance(exits[0], Exception):
                raise exits[0]
            return exits[0] if exits else None
        """,
        ["*returns* is a value", "it raised ValueError('the value')", "keep the pair"],
    ),
    (
        "05 calls the last function for all",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    async def one():
                        results.append(await f())
                        nursery.cancel_scope.cancel()
                    nursery.start_soon(one)
            return results[0]
        """,
        ["Pass it as an argument of start_soon"],
    ),
    (
        "05 loses the error of a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async def one(f):
                try:
                    results.append(await f())
                except Exception:
                    pass
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results[0]
        """,
        ["✗ a horse that falls", "do not catch it"],
    ),
    (
        "05 lets the others run on after an error",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async def one(f):
                try:
                    results.append(await f())
                except Exception as error:
                    print(error)
                else:
                    nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results[0]
        """,
        ["✗ a horse that falls", "returned 'hare'", "do not catch it"],
    ),
    (
        "05 takes the pair apart once",
        "check(run_group)",
        """
        async def run_group(actors):
            exits = []
            stopping = trio.Event()
            async def run_actor(execute):
                try:
                    exits.append((await execute(), None))
                except Exception as exc:
                    exits.append((None, exc))
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, interrupt in actors:
                    nursery.start_soon(run_actor, execute)
                await stopping.wait()
                for _ in actors:
                    await interrupt(exits[0][1])
            value, error = exits[0]
            if error is not None:
                raise error
            return value
        """,
        ["interrupt 1 was called 2 times, and another one never", "!Only the first exit"],
    ),
    (
        "05 waits in the loop that starts them",
        "check(run_group)",
        """
        async def run_group(actors):
            exits = []
            stopping = trio.Event()
            async def run_actor(execute):
                try:
                    exits.append((await execute(), None))
                except Exception as exc:
                    exits.append((None, exc))
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, interrupt in actors:
                    nursery.start_soon(run_actor, execute)
                    await stopping.wait()
                    await interrupt(exits[0][1])
            value, error = exits[0]
            if error is not None:
                raise error
            return value
        """,
        ["actor 1 was never started", "before you wait"],
    ),
    (
        "05 sets the event at the beginning",
        "check(run_group)",
        """
        async def run_group(actors):
            exits = []
            stopping = trio.Event()
            async def run_actor(execute):
                stopping.set()
                try:
                    exits.append((await execute(), None))
                except Exception as exc:
                    exits.append((None, exc))
            async with trio.open_nursery() as nursery:
                for execute, interrupt in actors:
                    nursery.start_soon(run_actor, execute)
                await stopping.wait()
                for _, interrupt in actors:
                    await interrupt(exits[0][1])
            value, error = exits[0]
            if error is not None:
                raise error
            return value
        """,
        ["set before anything has been written down", "!before any task has run"],
    ),
    (
        "02 looks every second",
        "check(collect)",
        """
        async def collect(functions):
            results = {}
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
                while len(results) < len(functions):
                    await trio.sleep(1)
            return [results[i] for i in range(len(functions))]
        """,
        ["✗ 3.07 s, 1.03 s and 2.05 s", "after 4 s", "look now and then"],
    ),
    (
        "02 raises a copy",
        "check(collect)",
        """
        async def collect(functions):
            results = [None] * len(functions)
            async def one(i, f):
                try:
                    results[i] = await f()
                except OSError:
                    raise OSError("no network")
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return results
        """,
        ["✗ the error of a function", "that very object"],
    ),
    (
        "02 cancels all",
        "check(collect)",
        """
        async def collect(functions):
            results = [None] * len(functions)
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
                nursery.cancel_scope.cancel()
            return results
        """,
        ["Nobody needs to cancel", "!start_soon gives back nothing"],
    ),
    (
        "02 has three places",
        "check(collect)",
        """
        async def collect(functions):
            results = [None, None, None]
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return results
        """,
        ["`[None] * len(functions)`"],
    ),
    (
        "02 has the stub's line left",
        "check(collect)",
        """
        async def collect(functions):
            results = [None] * len(functions)
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            raise NotImplementedError
            return results
        """,
        ["delete the line `raise NotImplementedError`"],
    ),
    (
        "03 loses what the work brought",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            result = error = None
            try:
                result = await work()
            except BaseException as exc:
                error = exc
            with trio.move_on_after(2, shield=True):
                await clean_up()
            await trio.sleep(0)
            if error is not None:
                raise error
            return result
        """,
        ["✗ even then, what had come of the work comes out", "an `await` behind the clean-up"],
    ),
    (
        "03 has a checkpoint before the shield",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            finally:
                await trio.sleep(0)
                with trio.move_on_after(2, shield=True):
                    await clean_up()
        """,
        ["was never called", "an `await` before the shield"],
    ),
    (
        "03 takes its time after an error",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                result = await work()
            except BaseException:
                with trio.move_on_after(2, shield=True):
                    await clean_up()
                    await trio.sleep(2)
                raise
            with trio.move_on_after(2, shield=True):
                await clean_up()
            return result
        """,
        ["it was done at 1.6 s, and with_clean_up came back at 3.03 s"],
    ),
    (
        "03 looks now and then",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            finally:
                done = []
                async def one():
                    await clean_up()
                    done.append(True)
                async with trio.open_nursery() as nursery:
                    nursery.cancel_scope.shield = True
                    nursery.start_soon(one)
                    for _ in range(4):
                        if done:
                            break
                        await trio.sleep(0.5)
                    nursery.cancel_scope.cancel()
        """,
        ["✗ a clean-up that is done keeps nobody waiting", "came back at 2.03 s"],
    ),
    (
        "04 raises a group as an except* makes one of what is raised in it",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            try:
                async with trio.open_nursery() as nursery:
                    for async_fn in async_fns:
                        nursery.start_soon(async_fn)
            except* Exception as group:
                error = group.exceptions[0]
                raise ExceptionGroup("", [error]) from None
        """,
        ["after that block, not in it"],
    ),
    (
        "04 looks now and then",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors, done = [], []
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    errors.append(error)
                done.append(f)
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
                while not errors and len(done) < len(async_fns):
                    await trio.sleep(1)
                nursery.cancel_scope.cancel()
            if errors:
                raise errors[0]
        """,
        ["came back at 2 s instead of 1.03 s"],
    ),
    (
        "04 calls the last one for all",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    async def one():
                        try:
                            await f()
                        except Exception as error:
                            errors.append(error)
                            nursery.cancel_scope.cancel()
                    nursery.start_soon(one)
            if errors:
                raise errors[0]
        """,
        ["Pass it as an argument of start_soon"],
    ),
    (
        "04 waits for ever for nobody",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            done = trio.Event()
            left = len(async_fns)
            async def one(f):
                nonlocal left
                try:
                    await f()
                except Exception as error:
                    errors.append(error)
                left -= 1
                if errors or left == 0:
                    done.set()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
                await done.wait()
                nursery.cancel_scope.cancel()
            if errors:
                raise errors[0]
        """,
        ["✗ without functions it comes back", "never came back"],
    ),
    (
        "04 raises a text",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    errors.append(str(error))
                    nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if errors:
                raise errors[0]
        """,
        ["no exception", "a text"],
    ),
    (
        "02 awaits start_soon",
        "check(collect)",
        """
        async def collect(functions):
            async with trio.open_nursery() as nursery:
                for f in functions:
                    await nursery.start_soon(f)
        """,
        ["start_soon", "without `await`"],
    ),
    (
        "02 forgets the async of async with",
        "check(collect)",
        """
        async def collect(functions):
            with trio.open_nursery() as nursery:
                nursery.start_soon(functions[0])
        """,
        ["`async with trio.open_nursery() as nursery:`"],
    ),
    (
        "02 has a plain function for a task",
        "check(collect)",
        """
        async def collect(functions):
            def one(f):
                f
            async with trio.open_nursery() as nursery:
                for f in functions:
                    nursery.start_soon(one, f)
        """,
        ["`async def`"],
    ),
    (
        "02 is a plain function",
        "check(collect)",
        """
        def collect(functions):
            return functions
        """,
        ["`async def`", "!start_soon"],
    ),
    (
        "02 forgets the brackets",
        "check(collect)",
        """
        async def collect(functions):
            return [await f for f in functions]
        """,
        ["`await f()`"],
    ),
    (
        "02 has an error of several lines",
        "check(collect)",
        r"""
        async def collect(functions):
            async with trio.open_nursery():
                raise ValueError("one line\nand another")
        """,
        ["ValueError('one line'…)", "your own code", "!another"],
    ),
    (
        "03 does not await the work",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return work()
            finally:
                with trio.move_on_after(2, shield=True):
                    await clean_up()
        """,
        ["`await work()`", "!`return`"],
    ),
    (
        "03 does not call the clean-up",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            finally:
                with trio.move_on_after(2, shield=True):
                    await clean_up
        """,
        ["with brackets", "!`return`"],
    ),
    (
        "03 returns in finally",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            finally:
                with trio.move_on_after(2, shield=True):
                    await clean_up()
                return
        """,
        ["`return` in `finally`", "!Is there a"],
    ),
    (
        "04 starts a call",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            async def one(f):
                await f()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one(f))
        """,
        ["the function and its arguments", "!reached the nursery"],
    ),
    (
        "04 has a mistake of its own",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            first = None
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    if first is None:
                        first = error
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
        """,
        ["UnboundLocalError", "your own code", "`nonlocal`", "!reached the nursery"],
    ),
    (
        "04 swallows Cancelled",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            async def one(f):
                try:
                    await f()
                except BaseException as error:
                    errors.append(error)
                    nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if errors and isinstance(errors[0], Exception):
                raise errors[0]
        """,
        ["✗ cancelled from outside", "`Cancelled` was swallowed"],
    ),
    (
        "04 awaits no call",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            async def one(f):
                try:
                    f()
                except Exception as error:
                    errors.append(error)
                    nursery.cancel_scope.cancel()
            errors = []
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if errors:
                raise errors[0]
        """,
        ["no job has run", "`await f()`", "!`nonlocal`"],
    ),
    (
        "04 assigns the error to the name after as",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            async def one(f):
                nonlocal error
                try:
                    await f()
                except Exception as error:
                    nursery.cancel_scope.cancel()
            error = None
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if error is not None:
                raise error
        """,
        ["deletes the name after `as`", "error = exc`", "!see `nonlocal`"],
    ),
    (
        "04 looks at the name after as in another task",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            error = None
            async def one(f):
                nonlocal error
                try:
                    await f()
                except Exception as error:
                    nursery.cancel_scope.cancel()
                finally:
                    if error is None:
                        nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
        """,
        ["deletes the name after `as`", "error = exc`", "!see `nonlocal`"],
    ),
    (
        "04 asks whether an event is true",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            failed, errors = trio.Event(), []
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    if not failed:
                        errors.append(error)
                        failed.set()
                        nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if failed:
                raise errors[0]
        """,
        ["`event.is_set()`", "!is written"],
    ),
    (
        "04 raises nothing",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            raise None
        """,
        ["TypeError", "your own code"],
    ),
    (
        "05 starts a call",
        "check(run_group)",
        """
        async def run_group(actors):
            async def one(execute):
                await execute()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one(execute))
        """,
        ["raises TypeError('Trio was", "the function and its arguments"],
    ),
    (
        "05 starts a call in a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(f())
        """,
        ["the function and its arguments"],
    ),
    (
        "05 returns a local name from a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            result = None
            async def one(async_fn):
                result = await async_fn()
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for async_fn in async_fns:
                    nursery.start_soon(one, async_fn)
            return result
        """,
        ["`nonlocal`"],
    ),
    (
        "05 returns a list from a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async def one(f):
                results.append(await f())
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results
        """,
        ["return the winner's value, not what you have kept it in", "!must not replace"],
    ),
    (
        "05 awaits in the loop of a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    result = await f()
                    nursery.cancel_scope.cancel()
                    return result
        """,
        ["`start_soon` for each", "await none of them in the loop", "!The winner's task"],
    ),
    (
        "05 keeps calls of a race",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async def one(f):
                results.append(f())
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results[0]
        """,
        ["nobody has awaited", "`await async_fn()`", "!in the loop"],
    ),
    (
        "05 loses the error of a nonlocal name after as",
        "check(run_group)",
        """
        async def run_group(actors):
            value = error = None
            stopping = trio.Event()
            async def one(execute):
                nonlocal value, error
                try:
                    value = await execute()
                except Exception as error:
                    pass
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one, execute)
                await stopping.wait()
                for _, interrupt in actors:
                    await interrupt(error)
            if error is not None:
                raise error
            return value
        """,
        ["deletes the name after `as`", "error = exc`", "!see `nonlocal`"],
    ),
    (
        "05 has a mistake of its own",
        "check(run_group)",
        """
        async def run_group(actors):
            exits = 0
            async def one(execute):
                exits += 1
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one, execute)
        """,
        ["UnboundLocalError", "your own code", "!an actor's exception"],
    ),
    (
        "05 does not await the interrupts",
        "check(run_group)",
        """
        async def run_group(actors):
            stopping, errors = trio.Event(), []
            async def one(execute):
                try:
                    await execute()
                    errors.append(None)
                except Exception as error:
                    errors.append(error)
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one, execute)
                await stopping.wait()
                for _, interrupt in actors:
                    interrupt(errors[0])
        """,
        ["`await interrupt(error)`", "!nobody was told"],
    ),
    (
        "05 raises in the nursery",
        "check(run_group)",
        """
        async def run_group(actors):
            stopping, errors = trio.Event(), []
            async def one(execute):
                try:
                    await execute()
                    errors.append(None)
                except Exception as error:
                    errors.append(error)
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one, execute)
                await stopping.wait()
                for _, interrupt in actors:
                    await interrupt(errors[0])
                if errors[0] is not None:
                    raise errors[0]
        """,
        ["after the nursery's block, not in it"],
    ),
    (
        "06 polls",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = False
            async def execute():
                while not stopping:
                    await report()
                    with trio.move_on_after(3600):
                        while not stopping:
                            await trio.lowlevel.checkpoint()
            def interrupt(error):
                nonlocal stopping
                stopping = True
            return execute, interrupt
        """,
        ["again and again", "an event", "!local name"],
    ),
    (
        "06 catches a cancellation",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping.is_set():
                    try:
                        await report()
                        with trio.move_on_after(3600):
                            await stopping.wait()
                    except trio.Cancelled:
                        pass
            return execute, lambda error: stopping.set()
        """,
        ["let a cancellation pass", "!again and again, without"],
    ),
    (
        "06 has an interrupt without parameters",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            return stopping.wait, stopping.set
        """,
        ["interrupt takes one: the error", "!returns a pair"],
    ),
    (
        "06 does not await the event",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping.is_set():
                    await report()
                    with trio.move_on_after(3600):
                        stopping.wait()
            return execute, lambda error: stopping.set()
        """,
        ["does not wait between two reports", "`await`", "!two things at once"],
    ),
    (
        "06 asks whether an event is true",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping:
                    await report()
                    with trio.move_on_after(3600):
                        await stopping.wait()
            return execute, lambda error: stopping.set()
        """,
        ["`event.is_set()`", "!is written", "!before anything else"],
    ),
    (
        "06 awaits what is not async",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                await report()
                await stopping.wait()
            async def interrupt(error):
                await stopping.set()
            return execute, interrupt
        """,
        ["without `await`", "!pair"],
    ),
    (
        "07 awaits what is not async",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    with trio.move_on_after(30):
                        await cancel.wait()
                    await flush()
            async def interrupt(error):
                await cancel.set()
            return execute, interrupt
        """,
        ["without `await`", "!pair"],
    ),
    (
        "07 flushes once too often",
        "check(flusher)",
        """
        def flusher(flush):
            told = trio.Event()
            async def execute():
                while not told.is_set():
                    with trio.move_on_after(30):
                        await told.wait()
                    await flush()
                await flush()
            return execute, lambda error: told.set()
        """,
        ["once too often", "!a sleep does not"],
    ),
    (
        "07 flushes in the interrupt meanwhile",
        "check(flusher)",
        """
        def flusher(flush):
            told = trio.Event()
            async def execute():
                while True:
                    with trio.move_on_after(30):
                        await told.wait()
                    if told.is_set():
                        return
                    await flush()
            async def interrupt(error):
                told.set()
                await flush()
            return execute, interrupt
        """,
        ["two flushes at the same time", "!not after it"],
    ),
    (
        "07 never obeys a cancellation",
        "check(flusher)",
        """
        def flusher(flush):
            told = trio.Event()
            async def execute():
                with trio.CancelScope(shield=True):
                    while True:
                        with trio.move_on_after(30):
                            await told.wait()
                        last = told.is_set()
                        await flush()
                        if last:
                            return
            return execute, lambda error: told.set()
        """,
        ["✗ cancelled from outside", "no shield around the wait"],
    ),
    (
        "07 asks whether an event is true",
        "check(flusher)",
        """
        def flusher(flush):
            told = trio.Event()
            async def execute():
                while not told:
                    with trio.move_on_after(30):
                        await told.wait()
                    await flush()
            return execute, lambda error: told.set()
        """,
        ["`event.is_set()`", "!is written"],
    ),
    (
        "07 flushes inside the time limit",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while True:
                    with trio.move_on_after(30):
                        await cancel.wait()
                        await flush()
                        return
                    await flush()
            return execute, lambda error: cancel.set()
        """,
        ["leave the `with` before you flush"],
    ),
    (
        "10 is a plain function",
        "check(pipeline)",
        """
        def pipeline(items, work, workers):
            return [work(item) for item in items]
        """,
        ["`async def`", "!`return`"],
    ),
    (
        "10 does nothing",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            return []
        """,
        ["no item has come to `work`", "!any order"],
    ),
    (
        "10 returns a dict",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            return {item: await work(item) for item in items}
        """,
        ["a list is expected", "!copied"],
    ),
    (
        "10 returns calls",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            return [work(item) for item in items]
        """,
        ["✗ each call of work is awaited", "`await work(item)`"],
    ),
    (
        "10 has a queue of asyncio's",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            queue, results = asyncio.Queue(), []
            async def worker():
                while True:
                    results.append(await work(await queue.get()))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                for item in items:
                    await queue.put(item)
            return results
        """,
        ["that is asyncio's"],
    ),
    (
        "10 waits for an event that nobody sets",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            await trio.Event().wait()
        """,
        ["Who waits for whom?", "!sending end"],
    ),
    (
        "10 asks for a value that does not come any more",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            async def worker():
                while True:
                    results.append(await work(await receiving.receive()))
            sending, receiving = trio.open_memory_channel(0)
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                async with sending:
                    for item in items:
                        await sending.send(item)
            return results
        """,
        ["`receive()` says that it is over", "`async for`", "!your own code"],
    ),
    (
        "10 counts the items",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            for number in range(len(items)):
                results.append(await work(items[number]))
            return results
        """,
        ["from a generator", "`for`"],
    ),
    (
        "10 has a limiter before which all stand",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results, free = [], trio.Semaphore(workers)
            async def one(item):
                async with free:
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for item in reversed([*items]):
                    nursery.start_soon(one, item)
                    await trio.sleep(0)
                    await trio.sleep(0)
            return results
        """,
        ["begun were d, c", "Tasks begin in any order"],
    ),
    (
        "10 comes back late",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            shared, results = iter(items), []
            async def worker():
                for item in shared:
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                await trio.sleep(4)
            return results
        """,
        ["after 4 s.", "!Tasks begin"],
    ),
    (
        "10 cannot do without items",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = await _from_one_iterator(items, work, workers)
            if not results:
                await trio.sleep_forever()
            return results
        """,
        ["✗ no items", "for no items, it never came back"],
    ),
    (
        "10 hangs after an error",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            shared, results = iter(items), []
            async def worker():
                for item in shared:
                    try:
                        results.append(await work(item))
                    except OSError:
                        await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
            return results
        """,
        ["work raised an OSError at 1 s, and it never came back", "!Do not catch"],
    ),
    (
        "02 writes to places that there are not",
        "check(collect)",
        """
        async def collect(functions):
            results = []
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return results
        """,
        ["IndexError", "!read the results after it"],
    ),
    (
        "02 keeps the result in the child",
        "check(collect)",
        """
        async def collect(functions):
            results = []
            async def one(f):
                results = await f()
            async with trio.open_nursery() as nursery:
                for f in functions:
                    nursery.start_soon(one, f)
            return results
        """,
        ["no child has written its result into it"],
    ),
    (
        "02 has one list for all calls",
        "check(collect)",
        """
        results = []
        async def collect(functions):
            first = len(results)
            results.extend([None] * len(functions))
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, first + i, f)
            return results
        """,
        ["Keep nothing from one call to the next", "!''"],
    ),
    (
        "02 has a yield",
        "check(collect)",
        """
        async def collect(functions):
            yield [await f() for f in functions]
        """,
        ["there is a `yield` in your function", "!async def"],
    ),
    (
        "02 forgets the brackets of open_nursery",
        "check(collect)",
        """
        async def collect(functions):
            async with trio.open_nursery as nursery:
                nursery.start_soon(functions[0])
        """,
        ["the brackets missing, as in `open_nursery()`"],
    ),
    (
        "02 leaves a nursery by a yield",
        "check(collect)",
        """
        async def started(functions):
            async with trio.open_nursery() as nursery:
                for f in functions:
                    nursery.start_soon(f)
                    yield f
        async def collect(functions):
            async for f in started(functions):
                break
        """,
        ["a `yield` inside a nursery or a cancel scope", "!as nursery:`"],
    ),
    (
        "03 has a yield",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            yield await work()
        """,
        ["there is a `yield` in your function"],
    ),
    (
        "03 does nothing",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            pass
        """,
        ["Is `work` awaited"],
    ),
    (
        "03 cleans up after some errors only",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            async def tidy():
                with trio.move_on_after(2, shield=True):
                    await clean_up()
            try:
                value = await work()
            except (OSError, trio.Cancelled):
                await tidy()
                raise
            await tidy()
            return value
        """,
        ["and the clean-up was never called"],
    ),
    (
        "03 cleans up twice",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            async def tidy():
                with trio.move_on_after(2, shield=True):
                    await clean_up()
            try:
                return await work()
            except trio.Cancelled:
                await tidy()
                raise
            finally:
                await tidy()
        """,
        ["was called 2 times. Call it in `finally` only", "!in the shield, too"],
    ),
    (
        "03 raises a copy",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            except Exception as error:
                raise type(error)(*error.args)
            finally:
                with trio.move_on_after(2, shield=True):
                    await clean_up()
        """,
        ["Is that a copy?"],
    ),
    (
        "03 enters a scope with async with",
        "check(with_clean_up)",
        """
        async def with_clean_up(work, clean_up):
            try:
                return await work()
            finally:
                async with trio.move_on_after(2, shield=True):
                    await clean_up()
        """,
        ["a plain `with`, without `async`"],
    ),
    (
        "03 is called already",
        "check(with_clean_up(None, None))",
        """
        async def with_clean_up(work, clean_up):
            pass
        """,
        ["hand over the function itself", "!start_soon"],
    ),
    (
        "04 does nothing",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            pass
        """,
        ["no job was called", "!awaited"],
    ),
    (
        "04 has one list for all calls",
        "check(first_error)",
        """
        errors = []
        async def first_error(*async_fns):
            async with trio.open_nursery() as nursery:
                async def one(f):
                    try:
                        await f()
                    except Exception as error:
                        errors.append(error)
                        nursery.cancel_scope.cancel()
                for f in async_fns:
                    nursery.start_soon(one, f)
            if errors:
                raise errors[0]
        """,
        ["the error of an earlier call", "!copy"],
    ),
    (
        "05 has one list for all calls",
        "check(run_group)",
        """
        exits = []
        async def run_group(actors):
            stopping = trio.Event()
            async def one(execute):
                try:
                    exits.append((await execute(), None))
                except Exception as error:
                    exits.append((None, error))
                stopping.set()
            async with trio.open_nursery() as nursery:
                for execute, _ in actors:
                    nursery.start_soon(one, execute)
                await stopping.wait()
                first = exits[-1]
                for _, interrupt in actors:
                    await interrupt(first[1])
            if exits[0][1] is not None:
                raise exits[0][1]
            return exits[0][0]
        """,
        ["Keep nothing from one call to the next"],
    ),
    (
        "05 wins the race by an error",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async with trio.open_nursery() as nursery:
                async def one(f):
                    try:
                        results.append(await f())
                    except Exception as error:
                        results.append(error)
                    nursery.cancel_scope.cancel()
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results[0]
        """,
        ["✓ the same, and the hare brings nothing", "An error is no return"],
    ),
    (
        "05 shields the race",
        "check_race(race)",
        """
        async def race(*async_fns):
            results = []
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                async def one(f):
                    results.append(await f())
                    nursery.cancel_scope.cancel()
                for f in async_fns:
                    nursery.start_soon(one, f)
            return results[0]
        """,
        ["✓ a horse that falls", "kept out by a shield"],
    ),
    (
        "06 forgets both awaits",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping.is_set():
                    report()
                    trio.sleep(3600)
            return execute, lambda error: stopping.set()
        """,
        ["without an `await`"],
    ),
    (
        "06 has an interrupt that waits in vain",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping, done = trio.Event(), trio.Event()
            async def execute():
                while not stopping.is_set():
                    await report()
                    with trio.move_on_after(3600):
                        await stopping.wait()
            async def interrupt(error):
                stopping.set()
                await done.wait()
            return execute, interrupt
        """,
        ["the interrupt goes on for ever", "!never stopped"],
    ),
    (
        "07 keeps every call",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    flush()
            return execute, lambda error: cancel.set()
        """,
        ["flush() was called 2000 times, and never awaited"],
    ),
    (
        "07 has the last flush in the scope",
        "check(flusher)",
        """
        def flusher(flush):
            scope = trio.CancelScope()
            async def execute():
                with scope:
                    try:
                        while True:
                            await trio.sleep(30)
                            await flush()
                    finally:
                        await flush()
            return execute, lambda error: scope.cancel()
        """,
        ["the last flush was cut off", "!once too often"],
    ),
    (
        "07 swallows a cancellation of a flush",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while True:
                    with trio.move_on_after(30):
                        await cancel.wait()
                    last = cancel.is_set()
                    try:
                        await flush()
                    except trio.Cancelled:
                        return
                    if last:
                        return
            return execute, lambda error: cancel.set()
        """,
        ["✗ and so it does during a flush", "was swallowed"],
    ),
    (
        "09 serves after the end",
        "check(make_service)",
        """
        from exercises_09 import answer, listener_actor, signal_actor
        def make_service(listeners):
            async def handle(stream):
                while True:
                    try:
                        await answer(stream)
                    except BaseException:
                        pass
            group = RunGroup(grace=1)
            group.add(*signal_actor())
            group.add(*listener_actor(handle, listeners))
            return group
        """,
        ["✗", "the handler has to end"],
    ),
    (
        "10 gathers nothing",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            async with trio.open_nursery() as nursery:
                for item in items:
                    results.append(nursery.start_soon(work, item))
            return results
        """,
        ["✗ all results are there"],
    ),
    (
        "10 has one list for all calls",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers, results=[]):
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                async for item in receiving:
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                async with sending:
                    for item in items:
                        await sending.send(item)
            return results
        """,
        ["Make the list inside of `pipeline`"],
    ),
    (
        "10 works in batches",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            async def one(item):
                results.append(await work(item))
            items = list(items)
            for i in range(0, len(items), workers):
                async with trio.open_nursery() as nursery:
                    for item in items[i : i + workers]:
                        nursery.start_soon(one, item)
            return results
        """,
        ["waits until both are done"],
    ),
    (
        "10 has a yield",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            for item in items:
                yield await work(item)
        """,
        ["a `yield` in your function", "!async def"],
    ),
    (
        "10 has a worker that takes one item",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                results.append(await work(await receiving.receive()))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                async with sending:
                    for item in items:
                        await sending.send(item)
            return results
        """,
        ["Does each worker take one item only?", "!collector"],
    ),
    (
        "01 adds all of them at once",
        "check(make_group)",
        """
        def make_group():
            group = RunGroup()
            group.add(server, ticker, job, watchdog)
            return group
        """,
        ["one `group.add(...)` for each actor", "!positional"],
    ),
    (
        "01 adds a list",
        "check(make_group)",
        """
        def make_group():
            group = RunGroup()
            group.add([server, ticker, job, watchdog])
            return group
        """,
        ["one `group.add(...)` for each actor", "!process_actor"],
    ),
    (
        "01 adds in a chain",
        "check(make_group)",
        """
        def make_group():
            return RunGroup().add(server).add(ticker).add(job).add(watchdog)
        """,
        ["`add` gives back the function, not the group", "!no attribute"],
    ),
    (
        "02 runs on after an error",
        "check(collect)",
        """
        async def collect(functions):
            results, errors = [None] * len(functions), []
            async def one(i, f):
                try:
                    results[i] = await f()
                except Exception as error:
                    errors.append(error)
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            if errors:
                raise errors[0]
            return results
        """,
        ["✓ the error of a function", "✗ and the others do not run on", "came back at 3.07 s"],
    ),
    (
        "02 shields each call",
        "check(collect)",
        """
        async def collect(functions):
            results = [None] * len(functions)
            async def one(i, f):
                with trio.CancelScope(shield=True):
                    results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return results
        """,
        ["came back at 3.07 s", "Is it caught, or are the others behind a shield?"],
    ),
    (
        "02 sorts a list that outlives the call",
        "check(collect)",
        """
        results = []
        async def collect(functions):
            async def one(i, f):
                results.append((i, await f()))
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            results.sort(key=lambda pair: pair[0])
            return [result for _, result in results]
        """,
        ["Keep nothing from one call to the next", "!Give each place"],
    ),
    (
        "02 opens no nursery",
        "check(collect)",
        """
        async def collect(functions):
            nursery = trio.open_nursery()
            for f in functions:
                nursery.start_soon(f)
        """,
        ["`async with trio.open_nursery() as nursery:`"],
    ),
    (
        "02 has a star",
        "check(collect)",
        """
        async def collect(*functions):
            results = [None] * len(functions)
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return results
        """,
        ["`async def collect(functions)`", "without a star"],
    ),
    (
        "02 calls its list",
        "check(collect)",
        """
        async def collect(functions):
            results = [None] * len(functions)
            async def one(i, f):
                results[i] = await f()
            async with trio.open_nursery() as nursery:
                for i, f in enumerate(functions):
                    nursery.start_soon(one, i, f)
            return [results(i) for i in range(len(functions))]
        """,
        ["`results[i]`"],
    ),
    (
        "02 runs in a run",
        "check(collect)",
        """
        from helpers import run
        async def collect(functions):
            return [run(f) for f in functions]
        """,
        ["you are in trio already", "`await f()`"],
    ),
    (
        "04 never enters its scope",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors, scope = [], trio.CancelScope()
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    errors.append(error)
                    scope.cancel()
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
            if errors:
                raise errors[0]
        """,
        ["came back at 9.07 s", "with brackets, of the nursery in which"],
    ),
    (
        "04 has a scope around start_soon only",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    errors.append(error)
                    scope.cancel()
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    for f in async_fns:
                        nursery.start_soon(one, f)
            if errors:
                raise errors[0]
        """,
        ["came back at 9.07 s", "with brackets, of the nursery in which"],
    ),
    (
        "05 tells only who has exited",
        "check(run_group)",
        """
        async def run_group(actors):
            exits = []
            async def one(execute, interrupt):
                value, error = None, None
                try:
                    value = await execute()
                except Exception as exc:
                    error = exc
                exits.append((value, error))
                await interrupt(exits[0][1])
            async with trio.open_nursery() as nursery:
                for execute, interrupt in actors:
                    nursery.start_soon(one, execute, interrupt)
            value, error = exits[0]
            if error is not None:
                raise error
            return value
        """,
        ["was called only when actor 1 had exited by itself", "!one at a time"],
    ),
    (
        "05 interrupts when the nursery has raised",
        "check(run_group)",
        """
        async def run_group(actors):
            try:
                async with trio.open_nursery() as nursery:
                    for execute, _ in actors:
                        nursery.start_soon(execute)
            except ExceptionGroup as group:
                for _, interrupt in actors:
                    await interrupt(group.exceptions[0])
                raise group.exceptions[0]
        """,
        ["an actor was cancelled before everybody was told", "reach the nursery", "!gracefully"],
    ),
    (
        "05 takes no pair apart",
        "check(run_group)",
        """
        async def run_group(actors):
            exits, first = [], trio.Event()
            async def one(execute):
                try:
                    exits.append((await execute(), None))
                except Exception as error:
                    exits.append((None, error))
                first.set()
            async with trio.open_nursery() as nursery:
                for execute in actors:
                    nursery.start_soon(one, execute)
                await first.wait()
                for _, interrupt in actors:
                    await interrupt(exits[0][1])
            if exits[0][1]:
                raise exits[0][1]
            return exits[0][0]
        """,
        ["`for execute, interrupt in actors`"],
    ),
    (
        "09 adds signal_actor itself",
        "check(make_service)",
        """
        from trio_rungroup import listener_actor, signal_actor
        def make_service(listeners):
            async def handle(stream):
                with contextlib.suppress(Exception):
                    await answer(stream)
            group = RunGroup(grace=1)
            group.add(signal_actor)
            group.add(*listener_actor(handle, listeners))
            return group
        """,
        ["✗ it runs until the signal comes", "group.add(*signal_actor())", "!the handler has"],
    ),
    (
        "09 answers for ever",
        "check(make_service)",
        """
        from trio_rungroup import listener_actor, signal_actor
        def make_service(listeners):
            async def handle(stream):
                with contextlib.suppress(Exception):
                    while True:
                        await answer(stream)
            group = RunGroup(grace=1)
            group.add(*signal_actor())
            group.add(*listener_actor(handle, listeners))
            return group
        """,
        ["✗ a handler ends when its client has gone", "once for each connection"],
    ),
    (
        "01 adds two at once",
        "check(make_group)",
        """
        def make_group():
            group = RunGroup()
            group.add(server, ticker)
            group.add(job, watchdog)
            return group
        """,
        ["one `group.add(...)` for each actor"],
    ),
    (
        "01 adds to its function",
        "check(make_group)",
        """
        def make_group():
            make_group.add(server)
        """,
        ["`add` was called on make_group"],
    ),
    (
        "04 runs one after the other",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            for f in async_fns:
                await f()
        """,
        ["came back at 10.64 s", "All run at the same time", "!with brackets"],
    ),
    (
        "04 has a slip in its except block",
        "check(first_error)",
        """
        async def first_error(*async_fns):
            errors = []
            async def one(f):
                try:
                    await f()
                except Exception as error:
                    errors.add(error)
            async with trio.open_nursery() as nursery:
                for f in async_fns:
                    nursery.start_soon(one, f)
        """,
        ["no attribute 'add'", "!the very object"],
    ),
    (
        "05 stops one after the other",
        "check(run_group)",
        """
        async def run_group(actors):
            exits, first, gone = [], trio.Event(), [trio.Event() for _ in actors]
            async def one(execute, this):
                try:
                    exits.append((await execute(), None))
                except Exception as error:
                    exits.append((None, error))
                first.set()
                this.set()
            async with trio.open_nursery() as nursery:
                for (execute, _), this in zip(actors, gone):
                    nursery.start_soon(one, execute, this)
                await first.wait()
                for (_, interrupt), this in zip(actors, gone):
                    await interrupt(exits[0][1])
                    await this.wait()
            if exits[0][1]:
                raise exits[0][1]
            return exits[0][0]
        """,
        ["nobody else waits for them", "!by itself"],
    ),
    (
        "06 asks whether an event is true, after the wait",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while True:
                    await report()
                    with trio.move_on_after(3600):
                        await stopping.wait()
                    if stopping:
                        return
            return execute, lambda error: stopping.set()
        """,
        ["✗ told to stop, it stops", "`event.is_set()`", "!the interrupt", "!entered once"],
    ),
    (
        "06 raises what it is given in the interrupt",
        "check(make_reporter)",
        """
        def make_reporter(report):
            async def execute():
                while True:
                    await report()
                    await trio.sleep(3600)
            def interrupt(error):
                raise error
            return execute, interrupt
        """,
        ["the interrupt has failed", "What it raises stops nobody", "!an error came out"],
    ),
    (
        "06 has an interrupt that fails during a report",
        "check(make_reporter)",
        """
        def make_reporter(report):
            sleep = None
            async def execute():
                nonlocal sleep
                while sleep is None or not sleep.cancelled_caught:
                    await report()
                    with trio.CancelScope() as sleep:
                        await trio.sleep(3600)
            return execute, lambda error: sleep.cancel()
        """,
        ["✗ told to stop while it reports", "told to stop at 1 s, the interrupt has failed"],
    ),
    (
        "06 enters a scope again",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping, sleep = trio.Event(), trio.CancelScope()
            async def execute():
                while not stopping.is_set():
                    await report()
                    with sleep:
                        await trio.sleep(3600)
            def interrupt(error):
                stopping.set()
                sleep.cancel()
            return execute, interrupt
        """,
        ["A scope can be entered once"],
    ),
    (
        "07 asks whether an event is true, after the last flush",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while True:
                    with trio.move_on_after(30) as limit:
                        await cancel.wait()
                    await flush()
                    if not limit.cancelled_caught and cancel:
                        return
            return execute, lambda error: cancel.set()
        """,
        ["`event.is_set()`", "!after the last flush, return"],
    ),
    (
        "07 waits in its interrupt for what does not come after an error",
        "check(flusher)",
        """
        def flusher(flush):
            cancel, done = trio.Event(), trio.Event()
            async def execute():
                while not cancel.is_set():
                    with trio.move_on_after(30):
                        await cancel.wait()
                        break
                    await flush()
                await flush()
                done.set()
            async def interrupt(error):
                cancel.set()
                await done.wait()
            return execute, interrupt
        """,
        ["✗ an error of flush() comes out", "is called after an error", "waits for ever"],
    ),
    (
        "07 sends as Go does, to nobody after an error",
        "check(flusher)",
        """
        def flusher(flush):
            sending, receiving = trio.open_memory_channel(0)
            async def execute():
                while True:
                    with trio.move_on_after(30) as limit:
                        await receiving.receive()
                    await flush()
                    if not limit.cancelled_caught:
                        return
            async def interrupt(error):
                await sending.send(None)
            return execute, interrupt
        """,
        ["✗ an error of flush() comes out", "when `execute` has gone", "!must not flush"],
    ),
    (
        "07 sets a flag of the interrupt's own",
        "check(flusher)",
        """
        def flusher(flush):
            stopping = False
            async def execute():
                while not stopping:
                    await trio.sleep(30)
                    await flush()
                await flush()
            def interrupt(error):
                stopping = True
            return execute, interrupt
        """,
        ["makes a new, local name", "!a sleep does not"],
    ),
    (
        "07 flushes before it waits",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    await flush()
                    with trio.move_on_after(30):
                        await cancel.wait()
                await flush()
            return execute, lambda error: cancel.set()
        """,
        ["flushes at once, and only then waits", "!await the event"],
    ),
    (
        "07 looks ten times in a second",
        "check(flusher)",
        """
        def flusher(flush):
            stopping = False
            async def execute():
                while not stopping:
                    for _ in range(300):
                        await trio.sleep(0.1)
                        if stopping:
                            break
                    else:
                        await flush()
                await flush()
            def interrupt(error):
                nonlocal stopping
                stopping = True
            return execute, interrupt
        """,
        ["✓ it flushes every 30 s", "✗ told to stop at 75.5 s", "a sleep does not"],
    ),
    (
        "07 turns a cancellation into an error",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    try:
                        with trio.move_on_after(30):
                            await cancel.wait()
                            break
                    except BaseException as error:
                        raise OSError("it could not wait") from error
                    await flush()
                await flush()
            return execute, lambda error: cancel.set()
        """,
        ["✗ cancelled from outside", "came out in place of `Cancelled`", "!no shield"],
    ),
    (
        "07 has no interrupt, and obeys",
        "check(flusher)",
        """
        def flusher(flush):
            async def execute():
                while True:
                    try:
                        await trio.sleep(30)
                    except trio.Cancelled:
                        with trio.CancelScope(shield=True):
                            await flush()
                        raise
                    with trio.CancelScope(shield=True):
                        await flush()
            return execute, None
        """,
        ["✗ then it returns", "`execute` was cancelled", "no interrupt of its own"],
    ),
    (
        "10 goes through a list once for each worker",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            async def worker():
                for item in items:
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
            return results
        """,
        ["✗ five workers and three items", "a list here", "`iter(items)`", "!earlier call"],
    ),
    (
        "10 asks a list for the next item",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            async def worker():
                while True:
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
            return results
        """,
        ["✗ five workers and three items", "a list here", "`iter(items)`"],
    ),
    (
        "10 reads the list before it waits",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results, shared = [], iter(items)
            async def worker():
                nonlocal results
                for item in shared:
                    results = results + [await work(item)]
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
            return results
        """,
        ["✗ all results are there", "read before an `await` and written after it"],
    ),
    (
        "10 sends before anybody receives",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                async for item in receiving:
                    results.append(await work(item))
            async with sending:
                for item in items:
                    await sending.send(item)
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
            return results
        """,
        ["one task waits to send", "before the workers are started", "!collector"],
    ),
    (
        "10 closes an end when the nursery is done",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                async for item in receiving:
                    results.append(await work(item))
            async with sending, trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                for item in items:
                    await sending.send(item)
            return results
        """,
        ["one sending end still open", "around the nursery closes it too late"],
    ),
    (
        "10 takes None for the end",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                async for item in receiving:
                    if item is None:
                        return
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                for item in [*items, *[None] * workers]:
                    await sending.send(item)
            return results
        """,
        ["✗ five workers and three items", "one of the items is None", "!collector"],
    ),
    (
        "10 lets the clock say that it is over",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            send_result, done = trio.open_memory_channel(0)
            async def produce():
                async with sending:
                    for item in items:
                        await sending.send(item)
            async def worker():
                async for item in receiving:
                    await send_result.send(await work(item))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(produce)
                for _ in range(workers):
                    nursery.start_soon(worker)
                with trio.move_on_after(10):
                    async for result in done:
                        results.append(result)
            return results
        """,
        ["after 10 s.", "not a clock"],
    ),
    (
        "06 goes on when it is told to stop",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while True:
                    await report()
                    with trio.move_on_after(3600) as limit:
                        await stopping.wait()
                    if limit.cancelled_caught:
                        return
            return execute, lambda error: stopping.set()
        """,
        ["round in circles", "return when it is set: it stays so"],
    ),
    (
        "07 goes on when it is told to stop",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while True:
                    with trio.move_on_after(30):
                        await cancel.wait()
                    if not cancel.is_set():
                        await flush()
            return execute, lambda error: cancel.set()
        """,
        ["round in circles", "return when it is set: it stays so"],
    ),
    (
        "10 cancels the workers when the last item is sent",
        "check(pipeline)",
        """
        async def pipeline(items, work, workers):
            results = []
            sending, receiving = trio.open_memory_channel(0)
            async def worker():
                async for item in receiving:
                    results.append(await work(item))
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                for item in items:
                    await sending.send(item)
                nursery.cancel_scope.cancel()
            return results
        """,
        ["✗ all results are there", "are the workers cancelled"],
    ),
    (
        "07 expects a TimeoutError",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while True:
                    try:
                        with trio.fail_after(30):
                            await cancel.wait()
                    except TimeoutError:
                        await flush()
                    else:
                        return await flush()
            return execute, lambda error: cancel.set()
        """,
        ["TooSlowError", "which is no TimeoutError", "!await the event"],
    ),
    (
        "07 raises in the interrupt what it is given",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    with trio.move_on_after(30):
                        await cancel.wait()
                        break
                    await flush()
                await flush()
            def interrupt(error):
                if error is not None:
                    raise error
                cancel.set()
            return execute, interrupt
        """,
        ["Told to stop at 29.5 s, by an error of another actor", "SignalReceived"],
    ),
    (
        "07 stops only without an error",
        "check(flusher)",
        """
        def flusher(flush):
            cancel = trio.Event()
            async def execute():
                while not cancel.is_set():
                    with trio.move_on_after(30):
                        await cancel.wait()
                        break
                    await flush()
                await flush()
            def interrupt(error):
                if error is None:
                    cancel.set()
            return execute, interrupt
        """,
        ["✗ told at 29.5 s", "whatever the error is", "!inside the time limit"],
    ),
    (
        "06 raises in the interrupt what it is given, unless it is None",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping.is_set():
                    await report()
                    with trio.move_on_after(3600):
                        await stopping.wait()
            def interrupt(error):
                if error is not None:
                    raise error
                stopping.set()
            return execute, interrupt
        """,
        ["told to stop at 7300.5 s, the interrupt has failed", "SignalReceived"],
    ),
    (
        "06 stops only without an error",
        "check(make_reporter)",
        """
        def make_reporter(report):
            stopping = trio.Event()
            async def execute():
                while not stopping.is_set():
                    await report()
                    with trio.move_on_after(3600):
                        await stopping.wait()
            def interrupt(error):
                if error is None:
                    stopping.set()
            return execute, interrupt
        """,
        ["✗ then it returns", "whatever the error is", "!Without an interrupt"],
    ),
]


# Slips: the solution with one place changed, from the first text to the second.
_STEP_5 = """\
    value, error = exits[0]
    if error is not None:
        raise error
    return value
"""

SLIPS: list[tuple[str, str, str, str, list[str]]] = [
    (
        "10 swallows the cancellation in its workers",
        "check(pipeline)",
        "async def pipeline(",
        "async def pipeline(items, work, workers):\n"
        "    results = []\n"
        "    async def worker(receiving):\n"
        "        try:\n"
        "            async with receiving:\n"
        "                async for item in receiving:\n"
        "                    results.append(await work(item))\n"
        "        except trio.Cancelled:\n"
        "            return\n"
        "    sending, receiving = trio.open_memory_channel(0)\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        async with receiving:\n"
        "            for _ in range(workers):\n"
        "                nursery.start_soon(worker, receiving.clone())\n"
        "        async with sending:\n"
        "            for item in items:\n"
        "                await sending.send(item)\n"
        "    return results\n"
        "async def another(",
        ["✗ also while the last item is in work", "A worker has swallowed `Cancelled`"],
    ),
    (
        "10 takes the ends in the wrong order",
        "check(pipeline)",
        "sending_items, items_to_do =",
        "items_to_do, sending_items =",
        ["gives the sending end first", "!plain `for`"],
    ),
    (
        "10 does not say how much room there is",
        "check(pipeline)",
        "trio.open_memory_channel[Any](0)\n    sending_results",
        "trio.open_memory_channel()\n    sending_results",
        ["how much room has the channel?", "!_Spy"],
    ),
    (
        "06 awaits a limit",
        "check(make_reporter)",
        "            with trio.move_on_after(3600):\n                await stopping.wait()",
        "            await trio.move_on_after(3600)\n            await stopping.wait()",
        ["`with trio.move_on_after(3600):` around what waits"],
    ),
    (
        "06 is told by errors only",
        "check(make_reporter)",
        "        stopping.set()",
        "        if error:\n            stopping.set()",
        ["its argument may be None"],
    ),
    (
        "06 raises in its interrupt",
        "check(make_reporter)",
        "        stopping.set()",
        "        stopping.set()\n        raise error",
        ["What it raises stops nobody", "!if error is not None"],
    ),
    (
        "06 swallows the end of its grace",
        "check(make_reporter)",
        "            await report()\n",
        "            try:\n                await report()\n            except BaseException:\n"
        "                if stopping.is_set():\n"
        "                    return\n                raise\n",
        ["✗ so it does when it has been told", "was swallowed"],
    ),
    (
        "07 swallows the end of its grace",
        "check(flusher)",
        "            await flush()\n",
        "            try:\n                await flush()\n            except trio.Cancelled:\n"
        "                if not last:\n                    raise\n",
        ["✗ also when a grace ends the last flush", "was swallowed"],
    ),
    (
        "07 forgets to await the event",
        "check(flusher)",
        "await cancel.wait()  # Go: case <-cancel",
        "cancel.wait().close()",
        ["is there an `await`?", "!turn that round"],
    ),
    (
        "08 waits for the cluster itself",
        "check(stoppable)",
        "    return future_actor(\n        lambda: client.submit(work, stop, pure=False),\n",
        "    async def execute():\n"
        "        future = client.submit(work, stop, pure=False)\n"
        "        stop.wait()\n"
        "        return future.result()\n"
        "    return (\n        execute,\n",
        ["✗ it lets others run", "`future.result()`", "without an `await`", "!brackets"],
    ),
    (
        "09 has a grace that is too long",
        "check(make_service)",
        "grace=1)",
        "grace=1.5)",
        ["a second"],
    ),
    (
        "01 makes one group outside of the function",
        "check(make_group)",
        "def make_group() -> RunGroup:\n",
        "once = RunGroup()\n\n\ndef make_group() -> RunGroup:\n    return once\n",
        ["✗ make_group() returns a new RunGroup", "the same group again"],
    ),
    (
        "01 makes one group outside of the function, and names what it adds",
        "check(make_group)",
        "def make_group() -> RunGroup:\n",
        "once = RunGroup()\n\n\ndef make_group() -> RunGroup:\n"
        "    once.add(trio.sleep_forever, name='a fifth')\n    return once\n",
        [
            "✗ make_group() returns a RunGroup",
            "called a second time",
            "a fifth",
            "inside the function",
        ],
    ),
    (
        "01 hands all to the class",
        "check(make_group)",
        "group = RunGroup()",
        "group = RunGroup(server, ticker, job)",
        ["one `group.add(...)` for each actor"],
    ),
    (
        "02 gives its list no places",
        "check(collect)",
        "[None] * len(functions)",
        "[]",
        ["IndexError", "as many places as there are functions", "!your own code"],
    ),
    (
        "02 makes a local name",
        "check(collect)",
        "results[index] = await function()",
        "results = await function()",
        ["`results = ...` in a child makes a local name"],
    ),
    (
        "02 calls without a nursery",
        "check(collect)",
        "nursery.start_soon(one, index, function)",
        "one(index, function).close()",
        ["A bare call such as `one(i, f)` only makes an object"],
    ),
    (
        "03 catches Cancelled, but not a group of it",
        "check(with_clean_up)",
        "        return await work()\n    finally:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "        result = await work()\n    except (Exception, trio.Cancelled):\n"
        "        with trio.move_on_after(2, shield=True):\n"
        "            await clean_up()\n        raise\n"
        "    with trio.move_on_after(2, shield=True):\n"
        "        await clean_up()\n    return result\n",
        ["✗ also where the work has a nursery inside", "raises a group of `Cancelled`"],
    ),
    (
        "03 cleans up once more after a clean-up that failed",
        "check(with_clean_up)",
        "        return await work()\n    finally:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "        result = await work()\n        with trio.move_on_after(2, shield=True):\n"
        "            await clean_up()\n        return result\n    except BaseException:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n        raise\n",
        ["✗ a clean-up that fails is not done again", "in `finally` only"],
    ),
    (
        "03 uses one scope for all calls",
        "check(with_clean_up)",
        "        with trio.move_on_after(2, shield=True):\n",
        "        global once\n"
        "        once = globals().get('once') or trio.CancelScope(shield=True)\n"
        "        with once:\n",
        ["make a new one in each call"],
    ),
    (
        "03 blocks in its clean-up",
        "check(with_clean_up)",
        "            await clean_up()\n",
        "            import time\n            await clean_up()\n            time.sleep(1.5)\n",
        ["`time.sleep` lets no other task run"],
    ),
    (
        "04 looks for an error where there is none",
        "check(first_error)",
        "    if errors:\n        raise errors[0]",
        "    raise errors[0]",
        ["`if errors:` first", "!your own code"],
    ),
    (
        "04 has no star",
        "check(first_error)",
        "first_error(*async_fns:",
        "first_error(async_fns:",
        ["with the star", "!your own code"],
    ),
    (
        "04 returns the error from the task",
        "check(first_error)",
        "                errors.append(error)\n",
        "                return error\n",
        ["What a task returns goes nowhere"],
    ),
    (
        "04 calls its functions in a shield",
        "check(first_error)",
        "                await async_fn()\n",
        "                with trio.CancelScope(shield=True):\n"
        "                    await async_fn()\n",
        ["there a shield?"],
    ),
    (
        "05 has no star in its race",
        "check_race(race)",
        "race(*async_fns:",
        "race(async_fns:",
        ["`async def race(*async_fns)`, with the star", "!your own code"],
    ),
    (
        "05 has its racers in a shield",
        "check_race(race)",
        "            results.append(await async_fn())\n",
        "            with trio.CancelScope(shield=True):\n"
        "                results.append(await async_fn())\n",
        ["Or is there a shield?"],
    ),
    (
        "05 keeps its list from call to call",
        "check(run_group)",
        "    exits: list[tuple[object, BaseException | None]] = []  # in order of time\n",
        "    global exits\n    exits = globals().get('exits', [])\n",
        ["that is the error of an earlier call"],
    ),
    (
        "05 raises another error from the first",
        "check(run_group)",
        "        raise error\n",
        "        raise RuntimeError('an actor failed') from error\n",
        ["that very object", "!your own code"],
    ),
    (
        "05 puts a shield around the interrupts",
        "check(run_group)",
        "            await interrupt(exits[0][1])\n",
        "            with trio.CancelScope(shield=True):\n"
        "                await interrupt(exits[0][1])\n",
        ["✗ cancelled from outside at 3 s while an interrupt takes its time", "put no shield"],
    ),
    (
        "05 blocks",
        "check(run_group)",
        "        exits.append((value, error))\n",
        "        exits.append((value, error))\n        import time\n        time.sleep(0.05)\n",
        ["`time.sleep` lets no other task run"],
    ),
    (
        "01 raises another error",
        "check(make_group)",
        'OSError("the disk is full")',
        'OSError("disk full")',
        ["type and text", "!return or print"],
    ),
    (
        "01 has a plain function",
        "check(make_group)",
        'async def watchdog() -> None:\n    """Look at the disk, and find it full."""\n    await ',
        "def watchdog() -> None:\n    ",
        ["`await trio.sleep(1.6)` waits, in an `async def`"],
    ),
    (
        "01 forgets an actor",
        "check(make_group)",
        "    group.add(ticker)\n",
        "",
        ["missing: ticker"],
    ),
    (
        "01 calls an actor by another name",
        "check(make_group)",
        "group.add(watchdog)",
        'group.add(watchdog, name="dog")',
        ["missing: watchdog", "called what its function is called"],
    ),
    (
        "01 adds nothing",
        "check(make_group)",
        "    group = RunGroup()\n",
        "    return RunGroup()\n",
        ["missing: job, server, ticker, watchdog", "!it has ."],
    ),
    (
        "01 runs it in make_group",
        "check(make_group)",
        "    return group",
        "    trio.run(group.run)",
        ["do not run it"],
    ),
    (
        "01 runs it in make_group and goes on",
        "check(make_group)",
        "    return group",
        "    try:\n        trio.run(group.run)\n    except OSError:\n        return group",
        ["a new RunGroup()", "do not run it"],
    ),
    (
        "02 does not await the function",
        "check(collect)",
        "await function()",
        "function()",
        ["`await f()`", "!called were: none"],
    ),
    (
        "02 looks again and again",
        "check(collect)",
        "    return results",
        "        while None in results:\n            await trio.sleep(0.1)\n    return results",
        ["✗ None, 0 and", "the end of the nursery waits", "!0000"],
    ),
    (
        "02 waits three seconds",
        "check(collect)",
        "    return results",
        "        await trio.sleep(3)\n    return results",
        ["for an empty list it came back after 3 s", "no `sleep`"],
    ),
    (
        "02 leaves out what is nothing",
        "check(collect)",
        "    return results",
        "    return [result for result in results if result]",
        ["✗ None, 0 and", "[]"],
    ),
    (
        "02 calls start",
        "check(collect)",
        "nursery.start_soon(",
        "await nursery.start(",
        ["`start_soon`", "without `await`", "!keyword"],
    ),
    (
        "03 catches Exception",
        "check(with_clean_up)",
        "        return await work()\n    finally:\n"
        "        with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "        result = await work()\n    except Exception:\n"
        "        with trio.move_on_after(2, shield=True):\n            await clean_up()\n"
        "        raise\n    else:\n"
        "        with trio.move_on_after(2, shield=True):\n            await clean_up()\n"
        "        return result\n",
        ["`Cancelled` is no `Exception`", "!in the shield"],
    ),
    (
        "03 cleans up after success only",
        "check(with_clean_up)",
        "    try:\n        return await work()\n    finally:\n",
        "    value = await work()\n    try:\n        return value\n    finally:\n",
        ["`finally` comes after an error, too", "!Is that a copy?"],
    ),
    (
        "03 cleans up after an error, and too late",
        "check(with_clean_up)",
        "            await clean_up()",
        "            import sys\n"
        "            await trio.sleep(0.1 * (sys.exc_info()[1] is not None))\n"
        "            await clean_up()",
        ["✗ the clean-up is done after work that failed", "!Is that a copy?"],
    ),
    (
        "03 raises when the time is over",
        "check(with_clean_up)",
        "with trio.move_on_after(2, shield=True):",
        "with trio.fail_after(2, shield=True):",
        ["`fail_after` raises when the time is over"],
    ),
    (
        "03 takes a deadline for a time",
        "check(with_clean_up)",
        "trio.move_on_after(2, shield=True)",
        "trio.CancelScope(deadline=2, shield=True)",
        ["a moment", "trio.current_time() + 2", "!every checkpoint raises"],
    ),
    (
        "03 gives it less time",
        "check(with_clean_up)",
        "move_on_after(2,",
        "move_on_after(1,",
        ["given up at 2 s"],
    ),
    (
        "03 always takes two seconds",
        "check(with_clean_up)",
        "            await clean_up()",
        "            async with trio.open_nursery() as nursery:\n"
        "                nursery.start_soon(clean_up)\n                await trio.sleep(2)\n"
        "                nursery.cancel_scope.cancel()",
        ["✗ a clean-up that is done keeps nobody waiting", "came back at 3.03 s"],
    ),
    (
        "04 forgets nonlocal",
        "check(first_error)",
        "                errors.append(error)",
        "                errors = [error]",
        ["`nonlocal`", "a local name"],
    ),
    (
        "04 returns the error",
        "check(first_error)",
        "raise errors[0]",
        "return errors[0]",
        ["it returned the error: `raise` it", "!lost"],
    ),
    (
        "04 raises too early",
        "check(first_error)",
        "    if errors:\n        raise errors[0]",
        "        if errors:\n            raise errors[0]",
        ["after the nursery's block", "before any task has run"],
    ),
    (
        "04 raises too early without a look",
        "check(first_error)",
        "    if errors:\n        raise errors[0]",
        "        raise errors[0]",
        ["before any task has run", "!your own code"],
    ),
    (
        "04 raises a group of its own",
        "check(first_error)",
        "raise errors[0]",
        'raise ExceptionGroup("all of them", errors)',
        ["not a group", "!reached the nursery"],
    ),
    (
        "05 forgets nonlocal in a race",
        "check_race(race)",
        "results.append(await async_fn())",
        "results = [await async_fn()]",
        ["`nonlocal`", "!before any task has run"],
    ),
    (
        "05 has a value of its own in each task of a race",
        "check_race(race)",
        "            results.append(await async_fn())",
        "            result = await async_fn()",
        ["`nonlocal`", "!before any task has run"],
    ),
    (
        "05 calls off a race before it begins",
        "check_race(race)",
        "    return results[0]",
        "        nursery.cancel_scope.cancel()\n    return results[0]",
        ["before anybody came in", "the winner's task does", "!local name"],
    ),
    (
        "05 starts a call in a task",
        "check(run_group)",
        "nursery.start_soon(run_actor, execute)",
        "nursery.start_soon(run_actor, execute())",
        ["`start_soon(one, execute)`", "the task calls it", "!your own code"],
    ),
    (
        "05 does not await an actor",
        "check(run_group)",
        "await execute()",
        "execute()",
        ["no actor has run", "`await execute()`", "!too late"],
    ),
    (
        "05 asks whether an event is true",
        "check(run_group)",
        "        stopping.set()",
        "        if not stopping:\n            stopping.set()",
        ["`event.is_set()`", "!is written"],
    ),
    (
        "05 returns too early from a race",
        "check_race(race)",
        "    return results[0]",
        "        return results[0]",
        ["before any task has run", "!your own code"],
    ),
    (
        "05 loses the error where the except block ends",
        "check(run_group)",
        "        except Exception as exc:  # raised at the end, if it is the first\n"
        "            error = exc\n",
        "        except Exception as error:\n            pass\n",
        ["deletes the name after `as`", "error = exc`", "!nonlocal"],
    ),
    (
        "05 never sets the event",
        "check(run_group)",
        "        stopping.set()\n",
        "",
        ["a return as well as a raise"],
    ),
    (
        "05 sets the event after an error only",
        "check(run_group)",
        "            error = exc\n        exits.append((value, error))\n        stopping.set()",
        "            error = exc\n            stopping.set()\n        exits.append((value, error))",
        ["a return as well as a raise"],
    ),
    (
        "05 does not await the event",
        "check(run_group)",
        "await stopping.wait()",
        "stopping.wait()",
        ["before any task has run", "`await`", "!your own code"],
    ),
    (
        "05 polls",
        "check(run_group)",
        "await stopping.wait()",
        "while not exits:\n            await trio.sleep(0.1)",
        ["wait for an event", "!one at a time"],
    ),
    (
        "05 has an event of asyncio's",
        "check(run_group)",
        "trio.Event()",
        "__import__('asyncio').Event()",
        ["that is asyncio's", "trio.Event"],
    ),
    (
        "06 forgets the brackets of is_set",
        "check(make_reporter)",
        "stopping.is_set()",
        "stopping.is_set",
        ["`is_set` needs its brackets", "!await report() before"],
    ),
    (
        "06 is async",
        "check(make_reporter)",
        "def make_reporter(",
        "async def make_reporter(",
        ["without `async`", "!unpack"],
    ),
    (
        "07 is async",
        "check(flusher)",
        "def flusher(",
        "async def flusher(",
        ["without `async`", "!unpack"],
    ),
    (
        "07 returns the last flush as Go does",
        "check(flusher)",
        "            await flush()\n            if last:\n                return\n",
        "            if last:\n                return flush()\n            await flush()\n",
        ["nobody awaited it", "`await flush()`", "!after the wait"],
    ),
    (
        "07 does not await the flush",
        "check(flusher)",
        "await flush()",
        "flush()",
        ["nobody awaited it", "`await flush()`", "!await the event"],
    ),
    (
        "08 sets the event at once",
        "check(stoppable)",
        "lambda error: stop.set()",
        "stop.set()",
        ["`lambda error: stop.set()`", "!takes the future"],
    ),
    (
        "08 submits at once",
        "check(stoppable)",
        "    return future_actor(\n        lambda: client.submit(work, stop, pure=False),",
        "    future = client.submit(work, stop, pure=False)\n"
        "    return future_actor(\n        lambda: future,",
        ["`lambda: client.submit", "before the actor", "!pure=False"],
    ),
    (
        "08 asks whether an event is true",
        "check(stoppable)",
        "while not stop.is_set():",
        "while not stop:",
        ["always true", "`while not stop.is_set():`"],
    ),
    (
        "02 returns after the first",
        "check(collect)",
        "            nursery.start_soon(one, index, function)\n    return results",
        "            nursery.start_soon(one, index, function)\n            return results",
        ["only slow was called", "after the loop"],
    ),
    (
        "02 returns the values of a dict",
        "check(collect)",
        "return results\n",
        "return dict(enumerate(results)).values()\n",
        ["that is no list", "`list(...)`"],
    ),
    (
        "02 passes arguments by name",
        "check(collect)",
        "start_soon(one, index, function)",
        "start_soon(one, index=index, function=function)",
        ["by position only"],
    ),
    (
        "05 shields it all",
        "check(run_group)",
        "    async with trio.open_nursery() as nursery:\n        for execute, _",
        "    async with trio.open_nursery() as nursery:\n"
        "        nursery.cancel_scope.shield = True\n"
        "        for execute, _",
        ["all 240 traces", "✗ cancelled from outside at 3 s", "no shield"],
    ),
    (
        "06 swallows the cancellation",
        "check(make_reporter)",
        "    async def execute() -> None:\n        while not stopping.is_set():",
        "    async def execute() -> None:\n"
        "        with contextlib.suppress(trio.Cancelled): await loop()\n"
        "    async def loop() -> None:\n        while not stopping.is_set():",
        ["✗ cancelled from outside", "was swallowed", "let it through"],
    ),
    (
        "06 forgets the brackets of set",
        "check(make_reporter)",
        "stopping.set()\n",
        "stopping.set\n",
        ["`stopping.set()` needs its brackets"],
    ),
    (
        "06 reports inside the time limit",
        "check(make_reporter)",
        "            await report()\n            with trio.move_on_after(3600):\n",
        "            with trio.move_on_after(3600):\n                await report()\n",
        ["Is the report inside the time limit, too?", "!is the hour"],
    ),
    (
        "07 swallows the cancellation",
        "check(flusher)",
        "    async def execute() -> None:\n        while True:",
        "    async def execute() -> None:\n"
        "        with contextlib.suppress(trio.Cancelled): await loop()\n"
        "    async def loop() -> None:\n        while True:",
        ["✗ cancelled from outside", "was swallowed"],
    ),
    (
        "07 forgets the brackets of is_set",
        "check(flusher)",
        "last = cancel.is_set()",
        "last = cancel.is_set",
        ["nobody had told it to", "`event.is_set()`"],
    ),
    (
        "07 wraps its error in a group",
        "check(flusher)",
        "            await flush()\n",
        "            async with trio.open_nursery() as nursery:\n"
        "                nursery.start_soon(flush)\n",
        ["came out in a group", "!`return err`"],
    ),
    (
        "08 is async",
        "check(stoppable)",
        "def stoppable(",
        "async def stoppable(",
        ["as `def`, without `async`"],
    ),
    (
        "08 forgets the brackets of step",
        "check(stoppable)",
        "step()\n",
        "step\n",
        ["`step()`", "!takes the future"],
    ),
    (
        "09 catches nothing",
        "check(make_service)",
        "except Exception as error:",
        "except OSError as error:",
        ["hurts nobody else", "Catch it in the handler", "UnicodeDecodeError"],
    ),
    (
        "09 listens to no signal",
        "check(make_service)",
        "    group.add(*signal_actor())\n",
        "",
        ["nobody listens to the signal", "✓ the request that is under way"],
    ),
    (
        "09 adds no interrupt",
        "check(make_service)",
        "group.add(*listener_actor(handle, listeners))",
        "group.add(listener_actor(handle, listeners)[0])",
        ["it was cut off", "Add both functions"],
    ),
    (
        "09 has no grace",
        "check(make_service)",
        "RunGroup(grace=1)",
        "RunGroup()",
        ["write RunGroup(grace=1)", "✓ a new client is refused"],
    ),
    (
        "09 is async",
        "check(make_service)",
        "def make_service(",
        "async def make_service(",
        ["as `def`, without `async`"],
    ),
    (
        "10 never closes the end of the items",
        "check(pipeline)",
        "        async with sending:\n            for item",
        "        if True:\n            for item",
        ["2 tasks wait for a value", "one sending end still open"],
    ),
    (
        "10 leaves the end open that clones were made of",
        "check(pipeline)",
        "async with items_to_do, sending_results:",
        "async with items_to_do:",
        ["one task waits for a value", "the one that clones were made of"],
    ),
    (
        "10 collects after the block",
        "check(pipeline)",
        "        async with results:\n            return",
        "    async with results:\n        return",
        ["2 tasks wait to send", "after the nursery's block"],
    ),
    (
        "10 makes no clone for those who send",
        "check(pipeline)",
        "sending_results.clone()",
        "sending_results",
        ["ClosedResourceError", "`clone()` of its own"],
    ),
    (
        "10 makes no clone for those who receive",
        "check(pipeline)",
        "items_to_do.clone()",
        "items_to_do",
        ["ResourceError", "a `clone()`"],  # Broken or Closed: who is first is drawn
    ),
    (
        "10 closes the end of the collector",
        "check(pipeline)",
        "        async with results:\n            return [result async for result in results]",
        "        async with results:\n            return []",
        ["BrokenResourceError", "every receiving end is closed"],
    ),
    (
        "10 does not await the sends",
        "check(pipeline)",
        "await sending.send(item)",
        "sending.send(item)",
        ["no item has come to `work`", "Is each `send` awaited"],
    ),
    (
        "10 does not wait for a place",
        "check(pipeline)",
        "await sending.send(item)",
        "sending.send_nowait(item)",
        ["ends in `_nowait` does not wait", "!your own code"],
    ),
    (
        "10 does not await the work",
        "check(pipeline)",
        "await work(item)",
        "work(item)",
        ["`await work(item)`", "!any order"],
    ),
    (
        "10 works twice",
        "check(pipeline)",
        "await sending.send(await work(item))",
        "await sending.send([await work(item), await work(item)][0])",
        ["✗ each item is worked on once", "called were: "],
    ),
    (
        "10 does not send the results",
        "check(pipeline)",
        "await sending.send(await work(item))",
        "await work(item)",
        ["✗ all results are there", "send what `work` returns"],
    ),
    (
        "10 has one worker",
        "check(pipeline)",
        "range(workers)",
        "range(1)",
        ["it took 6.75 s: one after the other", "two tasks"],
    ),
    (
        "10 has a worker for each item",
        "check(pipeline)",
        "range(workers)",
        "range(4)",
        ["it took 3 s: all at once", "as there are workers"],
    ),
    (
        "10 does not obey the number of workers",
        "check(pipeline)",
        "range(workers)",
        "range(2)",
        ["it took 3 s in place of 2", "what it is told"],
    ),
    (
        "10 has much room for the items",
        "check(pipeline)",
        "sending_items, items_to_do = trio.open_memory_channel[Any](0)",
        "sending_items, items_to_do = trio.open_memory_channel[Any](100)",
        ["38 items more", "room for 0"],
    ),
    (
        "10 goes through the channel with for",
        "check(pipeline)",
        "async for item in receiving",
        "for item in receiving",
        ["gone through with `async for`", "!your own code"],
    ),
    (
        "10 goes through the items with async for",
        "check(pipeline)",
        "for item in items:",
        "async for item in items:",
        ["a plain `for`", "!nursery"],
    ),
    (
        "10 starts a call",
        "check(pipeline)",
        "nursery.start_soon(produce, sending_items)",
        "nursery.start_soon(produce(sending_items))",
        ["the function and its arguments"],
    ),
    (
        "10 shields the work",
        "check(pipeline)",
        "                await sending.send(await work(item))",
        "                with trio.CancelScope(shield=True):\n"
        "                    result = await work(item)\n"
        "                await sending.send(result)",
        ["✗ an error of work comes out at once", "a shield"],
    ),
    (
        "10 catches the error",
        "check(pipeline)",
        "                await sending.send(await work(item))",
        "                with contextlib.suppress(OSError):\n"
        "                    await sending.send(await work(item))",
        ["✗ an error of work comes out at once", "Do not catch it"],
    ),
    (
        "10 looks whether there is a result",
        "check(pipeline)",
        "result async for result in results]",
        "result async for result in results if result]",
        ["✗ five workers and three items", "Do not look at a value"],
    ),
    (
        "01 does not end when it is cancelled",
        "check(make_group)",
        "    await trio.sleep_forever()",
        "    while True:\n        try:\n            await trio.sleep_forever()\n"
        "        except trio.Cancelled:\n            pass",
        ["Who goes on although it is cancelled?", "!another error"],
    ),
    (
        "01 adds a fifth actor",
        "check(make_group)",
        "    group.add(job)\n",
        '    group.add(job)\n    group.add(job, name="more work")\n',
        ["it has others besides: more work", "!missing"],
    ),
    (
        "04 catches what it has seen only",
        "check(first_error)",
        "except Exception as error",
        "except RuntimeError as error",
        ["a group came out"],
    ),
    (
        "04 cancels in the parent",
        "check(first_error)",
        "            nursery.start_soon(run_one, async_fn)\n",
        "            nursery.start_soon(run_one, async_fn)\n"
        "        nursery.cancel_scope.cancel()\n",
        ["before anybody had failed", "!nonlocal"],
    ),
    (
        "04 has a shield",
        "check(first_error)",
        "as nursery:\n",
        "as nursery:\n        nursery.cancel_scope.shield = True\n",
        ["Is there a shield", "!and nothing else"],
    ),
    (
        "05 gives the interrupts a text",
        "check(run_group)",
        "interrupt(exits[0][1])",
        "interrupt(str(exits[0][1]) if exits[0][1] else None)",
        ["every interrupt is given the error of the first exit"],
    ),
    (
        "05 gives the interrupts an error of its own",
        "check(run_group)",
        "interrupt(exits[0][1])",
        "interrupt(RuntimeError(exits[0][1]) if exits[0][1] else None)",
        ["every interrupt is given the error of the first exit", "another error"],
    ),
    (
        "05 cancels as in 04",
        "check(run_group)",
        "        stopping.set()\n",
        "        stopping.set()\n        nursery.cancel_scope.cancel()\n",
        ["an actor was cancelled before everybody was told", "!wait for the first exit"],
    ),
    (
        "05 lets the children look at the loop",
        "check(run_group)",
        "            nursery.start_soon(run_actor, execute)\n",
        "            async def actor():\n                await run_actor(execute)\n"
        "            nursery.start_soon(actor)\n",
        ["Pass `execute` as an argument", "!too late"],
    ),
    (
        "05 awaits the actors",
        "check(run_group)",
        "            nursery.start_soon(run_actor, execute)\n",
        "            await run_actor(execute)\n",
        ["await none of them in the loop", "!too late"],
    ),
    (
        "05 makes a group",
        "check(run_group)",
        "        raise error\n",
        '        raise ExceptionGroup("all", [e for _, e in exits if e])\n',
        ["one that you have made", "!reached the nursery"],
    ),
    (
        "05 does not wait for an exit",
        "check(run_group)",
        "        await stopping.wait()\n        for _, interrupt in actors:\n"
        "            await interrupt(exits[0][1])\n",
        "        for _, interrupt in actors:\n            await interrupt(None)\n",
        ["called before anybody has exited"],
    ),
    (
        "06 makes one more report",
        "check(make_reporter)",
        "        while not stopping.is_set():\n            await report()\n",
        "        while True:\n            await report()\n            if stopping.is_set():\n"
        "                return\n",
        ["it made one more report", "!two things at once"],
    ),
    (
        "06 sets the event itself",
        "check(make_reporter)",
        "return execute, interrupt",
        "return execute, stopping.set()",
        ["Or was the event set before?"],
    ),
    (
        "06 swallows a cancellation of a report",
        "check(make_reporter)",
        "            await report()\n",
        "            try:\n                await report()\n            except trio.Cancelled:\n"
        "                return\n",
        ["`Cancelled` was swallowed", "!a shield around"],
    ),
    (
        "06 reports in the interrupt",
        "check(make_reporter)",
        "    def interrupt(error: BaseException | None) -> None:\n        stopping.set()\n",
        "    async def interrupt(error):\n        stopping.set()\n        await report()\n",
        ["the interrupt only tells"],
    ),
    (
        "07 has one event for all",
        "check(flusher)",
        "    cancel = trio.Event()  # Go: cancel := make(chan struct{})\n",
        "    cancel = globals().setdefault('for_all', trio.Event())\n",
        ["make the flag or event inside of flusher"],
    ),
    (
        "07 sets the event itself",
        "check(flusher)",
        "return execute, interrupt",
        "return execute, cancel.set()",
        ["Or was the event set before?"],
    ),
    (
        "07 has an interrupt that fails during a flush",
        "check(flusher)",
        "        cancel.set()  # Go: close(cancel)\n",
        "        cancel.set()\n        if trio.current_time() == 31:\n            scope.cancel()\n",
        ["Told to stop at 31 s", "scope"],
    ),
    (
        "08 has an interrupt that fails",
        "check(stoppable)",
        "lambda error: stop.set(),",
        "lambda error: (stop.set(), undefined),",
        ["the interrupt raised NameError"],
    ),
    (
        "08 blocks in the interrupt",
        "check(stoppable)",
        "lambda error: stop.set(),",
        "lambda error: Event(client=client).wait(),",
        ["✗ interrupted, it ends soon", "without an `await`"],
    ),
    (
        "09 gives two seconds",
        "check(make_service)",
        "RunGroup(grace=1)",
        "RunGroup(grace=2)",
        ["write RunGroup(grace=1)"],
    ),
    (
        "09 goes round in circles",
        "check(make_service)",
        '            print("one request failed:", error)\n',
        "            while True:\n                pass\n",
        ["without an `await`"],
    ),
    (
        "09 returns a call of run",
        "check(make_service)",
        "    return group\n",
        "    return group.run()\n",
        ["return the group itself", "!without `async`"],
    ),
    (
        "10 has one worker too many",
        "check(pipeline)",
        "range(workers)",
        "range(workers + 1)",
        ["all at once, or three of them"],
    ),
    (
        "10 closes after the first",
        "check(pipeline)",
        "        async with sending:\n            for item in items:\n"
        "                await sending.send(item)\n",
        "        for item in items:\n            async with sending:\n"
        "                await sending.send(item)\n",
        ["an end is used that is closed already"],
    ),
    (
        "05 gives the value no value",
        "check(run_group)",
        "        value, error = None, None\n",
        "        error = None\n",
        ["UnboundLocalError", "None before the `try`"],
    ),
    (
        "05 raises in the block before the interrupts",
        "check(run_group)",
        "        for _, interrupt in actors:\n",
        "        if exits[0][1] is not None:\n            raise exits[0][1]\n"
        "        for _, interrupt in actors:\n",
        ["in the nursery's block", "!Catch it in the task"],
    ),
    (
        "05 raises in the block after the interrupts",
        "check(run_group)",
        "            await interrupt(exits[0][1])\n",
        "            await interrupt(exits[0][1])\n"
        "        if exits[0][1] is not None:\n            raise exits[0][1]\n",
        ["in the nursery's block", "!Catch it in the task"],
    ),
    (
        "05 writes down no return",
        "check(run_group)",
        "        exits.append((value, error))\n",
        "        if error is not None:\n            exits.append((value, error))\n",
        ["`(value, None)` when an actor returns", "!before any task has run"],
    ),
    (
        "05 has a list of its own in the task",
        "check(run_group)",
        "exits.append((value, error))",
        "exits = [(value, error)]",
        ["list of its own"],
    ),
    (
        "05 awaits the event itself",
        "check(run_group)",
        "stopping.wait()",
        "stopping",
        ["`await event.wait()`"],
    ),
    (
        "05 calls the event",
        "check(run_group)",
        "stopping.wait()",
        "stopping()",
        ["`await event.wait()`"],
    ),
    (
        "05 awaits whether the event is set",
        "check(run_group)",
        "stopping.wait()",
        "stopping.is_set()",
        ["`await event.wait()`"],
    ),
    (
        "05 raises None",
        "check(run_group)",
        _STEP_5,
        "    raise exits[0][1]\n",
        ["if error is not None: raise error"],
    ),
    (
        "05 ends with the nursery",
        "check(run_group)",
        _STEP_5,
        "",
        ["nothing came out. After the nursery's block"],
    ),
    (
        "05 returns the pair",
        "check(run_group)",
        _STEP_5,
        "    return exits[0]\n",
        ["a pair came out"],
    ),
    (
        "05 leaves the last line of the stub",
        "check(run_group)",
        "        stopping.set()\n",
        "        stopping.set()\n        raise NotImplementedError\n",
        ["delete the line `raise NotImplementedError`"],
    ),
    (
        "05 returns in the loop",
        "check(run_group)",
        "            await interrupt(exits[0][1])\n",
        "            await interrupt(exits[0][1])\n            return exits[0][0]\n",
        ["end the loop early", "!of those that have exited already"],
    ),
    (
        "04 cancels the nursery itself",
        "check(first_error)",
        "nursery.cancel_scope.cancel(",
        "nursery.cancel(",
        ["write `nursery.cancel_scope.cancel()`"],
    ),
    (
        "05 cancels the nursery itself in a race",
        "check_race(race)",
        "nursery.cancel_scope.cancel(",
        "nursery.cancel(",
        ["write `nursery.cancel_scope.cancel()`"],
    ),
    (
        "04 does not call cancel",
        "check(first_error)",
        '.cancel(reason="another one has failed")',
        ".cancel",
        ["came back at 9.07 s", "with brackets, of the nursery in which"],
    ),
    (
        "04 catches some",
        "check(first_error)",
        "except Exception as error",
        "except (OSError, ValueError) as error",
        ["a `JobError` has reached the nursery", "by `except Exception`"],
    ),
    (
        "04 raises from",
        "check(first_error)",
        "raise errors[0]",
        'raise RuntimeError("one failed") from errors[0]',
        ["Raise the very object that the job raised"],
    ),
    (
        "04 raises the text",
        "check(first_error)",
        "raise errors[0]",
        "raise Exception(errors[0])",
        ["Raise the very object that the job raised"],
    ),
    (
        "05 looks a hundred times in a second",
        "check(run_group)",
        "        await stopping.wait()\n",
        "        while not exits:\n            await trio.sleep(0.01)\n",
        ["✗ 1 of 1 traces", "wait for an event, do not look now and then"],
    ),
    (
        "05 calls the pairs",
        "check(run_group)",
        "for _, interrupt in actors",
        "for interrupt in actors",
        ["`for execute, interrupt in actors`", "!came out of your own code"],
    ),
    (
        "05 gives the interrupts nothing",
        "check(run_group)",
        "interrupt(exits[0][1])",
        "interrupt()",
        ["an interrupt takes the error", "`await interrupt(error)`"],
    ),
    (
        "03 catches the error of the work",
        "check(with_clean_up)",
        "    finally:\n",
        "    except Exception:\n        pass\n    finally:\n",
        ["✗ the clean-up is done after work that failed", "Was the error caught?"],
    ),
    (
        "03 returns in finally what it has kept",
        "check(with_clean_up)",
        "        return await work()\n    finally:\n",
        "        result = None\n        result = await work()\n    finally:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n        "
        "return result\n",
        ["✗ the clean-up is done after work that failed", "a `return` in `finally` replaces"],
    ),
    (
        "03 has no result after an error",
        "check(with_clean_up)",
        "        return await work()\n    finally:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "        result = await work()\n    except BaseException:\n        pass\n    "
        "with trio.move_on_after(2, shield=True):\n        await clean_up()\n    return result\n",
        ["UnboundLocalError", "Was the error caught?"],
    ),
    (
        "03 wraps the error in a group",
        "check(with_clean_up)",
        "    finally:\n",
        "    except* Exception:\n        raise\n    finally:\n",
        ["✗ the clean-up is done after work that failed", "`except*`, puts", "!Was the error"],
    ),
    (
        "03 has the work in the limit, which becomes a shield",
        "check(with_clean_up)",
        "    try:\n        return await work()\n    finally:\n        "
        "with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "    with trio.CancelScope() as scope:\n        try:\n            return await work()\n"
        "        finally:\n            scope.shield = True\n"
        "            scope.deadline = trio.current_time() + 2\n            await clean_up()\n",
        ["and the result still comes out", "more in the block of that limit", "!move_on_after"],
    ),
    (
        "03 shields the start of a task",
        "check(with_clean_up)",
        "        with trio.move_on_after(2, shield=True):\n            await clean_up()\n",
        "        async with trio.open_nursery() as nursery:\n"
        "            with trio.move_on_after(2, shield=True):\n"
        "                nursery.start_soon(clean_up)\n",
        ["every checkpoint raises", "not for a task that is only started there"],
    ),
    (
        "07 forgets the brackets of set",
        "check(flusher)",
        ".set()",
        ".set",
        ["`cancel.set()` needs its brackets", "!a sleep does not"],
    ),
    (
        "10 has room for two items",
        "check(pipeline)",
        "sending_items, items_to_do = trio.open_memory_channel[Any](0)",
        "sending_items, items_to_do = trio.open_memory_channel[Any](2)",
        ["3 items more", "one in the hand of who waits to send"],
    ),
    (
        "08 makes the steps here",
        "check(stoppable)",
        "client.submit(work, stop, pure=False)",
        "client.submit(work(stop), pure=False)",
        ["✗ its steps are made on the cluster", "made here", "without brackets", "!threading's"],
    ),
    (
        "08 sends the client, too",
        "check(stoppable)",
        "            step()\n",
        "            client.submit(step, pure=False)\n",
        ["✗ its steps are made on the cluster", "nor the client"],
    ),
    (
        "08 begins to count at one",
        "check(stoppable)",
        "steps = 0",
        "steps = 1",
        ["✗ it gives back the number of steps", "Begin at 0", "!cancels the future"],
    ),
    (
        "08 forgets the brackets of set",
        "check(stoppable)",
        "stop.set()",
        "stop.set",
        ["✗ interrupted, it ends soon", "`stop.set()` with its brackets"],
    ),
    (
        "10 does not start who sends the items",
        "check(pipeline)",
        "        nursery.start_soon(produce, sending_items)\n",
        "",
        ["2 tasks wait for a value", "is the task started that sends", "!clones"],
    ),
    (
        "10 makes a clone, and uses the first end",
        "check(pipeline)",
        "await sending.send(await work(item))",
        "await sending_results.send(await work(item))",
        ["ClosedResourceError", "which it uses"],
    ),
    (
        "08 stops only without an error",
        "check(stoppable)",
        "lambda error: stop.set()",
        "lambda error: error is None and stop.set()",
        ["✗ interrupted, it ends soon", "whatever the error is", "!brackets"],
    ),
]


def shown_for(exercises: ModuleType, call: str, source: str) -> str:
    """What a check prints for an answer that is given as text, as in a cell."""
    names = {**vars(exercises), "asyncio": asyncio, "trio": trio, "RunGroup": RunGroup}
    names["contextlib"] = contextlib
    held = len(gc.get_objects())
    with warnings.catch_warnings():  # a `return` in `finally`, and what nobody awaits
        warnings.simplefilter("ignore")
        exec(textwrap.dedent(source), names)
        shown = printed_by(lambda _: exec(call, names), None)
        gc.collect()
    assert len(gc.get_objects()) - held < 200_000, "it would stay in the learner's kernel"
    return shown


def with_a_slip(what: str, right: str, wrong: str) -> str:
    solution = (FOLDER / f"solution_{what[:2]}.py").read_text("utf-8")
    assert right in solution
    return solution.replace(right, wrong)


ALL_HINTS = HINTS + [
    (what, call, with_a_slip(what, right, wrong), words)
    for what, call, right, wrong, words in SLIPS
]


@once_is_enough
@pytest.mark.parametrize(
    ("what", "call", "source", "words"),
    ALL_HINTS,
    ids=[what.replace(" ", "_") for what, *_ in ALL_HINTS],
)
def test_a_hint_names_the_cause(
    monkeypatch: pytest.MonkeyPatch, what: str, call: str, source: str, words: list[str]
) -> None:
    exercises = module_of("exercises", what)
    # The hint of 05 is for the first trace that differs: the others need not be played.
    monkeypatch.setattr(exercises, "_LONG_ENOUGH", 0, raising=False)
    if "without an `await`" in words or "that loops" in what:  # ended when this time is over
        for module in (exercises, importlib.import_module("helpers")):
            monkeypatch.setattr(module, "_LONGEST_STEP", 0.8, raising=False)
    shown = " ".join(shown_for(exercises, call, source).split())
    assert "Hint:" in shown
    wanted = [word for word in words if not word.startswith("!")]
    unwanted = [word[1:] for word in words if word.startswith("!")]
    assert [word for word in wanted if word not in shown] == [], shown
    assert [word for word in unwanted if word in shown] == []


@once_is_enough
def test_one_hint_more_for_who_catches_cancelled() -> None:
    for number, name in (("04", "first_error"), ("05", "run_group")):
        solution = Path(module_of("solution", number).__file__ or "").read_text(encoding="utf-8")
        [handler] = re.findall(r"( *)except Exception as (\w+):", solution)
        line = "{}except Exception as {}:".format(*handler)
        for instead, told in (
            (line, False),
            (line.replace("Exception", "BaseException"), True),
            (line.replace("Exception", "(Exception, trio.Cancelled)"), True),
            ("{0}except:\n{0}    import sys; {1} = sys.exc_info()[1]".format(*handler), True),
            ("{0}except trio.Cancelled:\n{0}    raise\n".format(*handler) + line, False),
        ):
            source = solution.replace(line, instead)
            shown = shown_for(module_of("exercises", number), f"check({name})", source)
            assert "✗" not in shown
            shown = " ".join(shown.split())
            assert ("catches `Cancelled` and goes on" in shown) == told, source
            assert ("comes back as if nobody had cancelled it" in shown) == told


@once_is_enough
def test_one_hint_more_for_a_handler_that_catches_cancelled() -> None:
    solution = Path(module_of("solution", "09").__file__ or "").read_text(encoding="utf-8")
    for handler, told in (
        ("except Exception as error:", False),
        ("except BaseException as error:", True),
        (
            "except trio.Cancelled:\n            raise\n        except BaseException as error:",
            False,
        ),
    ):
        source = solution.replace("except Exception as error:", handler)
        shown = shown_for(module_of("exercises", "09"), "check(make_service)", source)
        assert "✗" not in shown
        assert ("catches `Cancelled` and goes on" in " ".join(shown.split())) == told, source


def test_a_difference_is_shown_before_a_slow_answer_has_played_every_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exercises = module_of("exercises", "05")
    monkeypatch.setattr(exercises, "_LONG_ENOUGH", 0)
    assert "✗ 1 of 1 traces" in printed_by(exercises.check, exercises.only_the_running)
    right = module_of("solution", "05").run_group
    assert "✓ all 240 traces" in printed_by(exercises.check, right)


@once_is_enough
def test_a_signal_that_a_busy_machine_sees_late_is_no_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raise_signal = signal.raise_signal

    async def be_busy() -> None:  # pragma: no cover - nothing is measured while a check runs
        time.sleep(0.2)  # noqa: ASYNC251 - longer than the check waits, at three times the speed

    def raise_and_be_busy(number: int) -> None:  # pragma: no cover
        raise_signal(number)
        trio.lowlevel.spawn_system_task(be_busy)

    exercises, right = module_of("exercises", "09"), module_of("solution", "09").make_service
    monkeypatch.setattr(signal, "raise_signal", raise_and_be_busy)
    assert "All of it holds" in printed_by(exercises.check, right)


@once_is_enough
def test_an_answer_does_not_fill_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        from trio_rungroup import listener_actor, signal_actor
        def make_service(listeners):
            execute, interrupt = listener_actor(answer, listeners)
            async def again_and_again():
                while True:
                    try:
                        return await execute()
                    except* Exception as error:
                        print("failed", error)
            group = RunGroup(grace=1)
            group.add(*signal_actor())
            group.add(again_and_again, interrupt)
            return group
    """
    exercises = module_of("exercises", "09")
    monkeypatch.setattr(exercises, "make_clock", lambda: None)  # it goes on until it is stopped
    shown = shown_for(exercises, "check(make_service)", source)
    assert 40 < shown.count("failed") <= 50
    assert "… and more\n✗ it lets others run" in shown
    assert "without an `await` that really waits" in " ".join(shown.split())


@once_is_enough
def test_a_service_that_breaks_trio_spoils_no_later_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    exercises = module_of("exercises", "09")
    source = with_a_slip("09", "await answer(stream)", "__import__('time').sleep(9)")
    with monkeypatch.context() as patch:
        # Two handlers block, and meanwhile the time is over that the whole may take.
        patch.setattr(exercises, "_LONGEST_STEP", 0.3)
        patch.setattr(exercises, "make_clock", functools.partial(trio.testing.MockClock, rate=30))
        assert "The service did not end" in shown_for(exercises, "check(make_service)", source)
    right = module_of("solution", "09").make_service
    assert "All of it holds" in printed_by(exercises.check, right)


@once_is_enough
def test_a_handler_that_blocks_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    exercises = module_of("exercises", "09")
    monkeypatch.setattr(exercises, "_LONGEST_STEP", 0.3)
    source = with_a_slip("09", "await answer(stream)", "__import__('time').sleep(9)")
    shown = " ".join(shown_for(exercises, "check(make_service)", source).split())
    assert "for 0.3 s no other task could run" in shown
    assert "listener_actor" not in shown


@once_is_enough
def test_an_answer_may_be_any_callable() -> None:
    for number, name in (("04", "first_error"), ("05", "run_group")):
        source = Path(module_of("solution", number).__file__ or "").read_text(encoding="utf-8")
        for made in (
            f"import functools\n{name} = functools.partial({name})",
            f"class Answer:\n    async def __call__(self, *args):\n        return await f(*args)\n"
            f"f = {name}\n{name} = Answer()",
        ):
            shown = shown_for(module_of("exercises", number), f"check({name})", f"{source}\n{made}")
            assert "✗" not in shown


def test_what_is_asyncios_is_named_where_jupyters_loop_runs() -> None:
    source = """
        async def collect(functions):
            return await asyncio.gather(*(f() for f in functions))
    """

    async def cell() -> str:
        return shown_for(module_of("exercises", "02"), "check(collect)", source)

    shown = asyncio.run(cell())
    assert "✗" in shown
    assert "in place of `asyncio.gather` open a nursery" in " ".join(shown.split())


def test_no_warning_of_calls_for_asyncio_is_left_for_the_next_cell() -> None:
    for number, call, source in (
        ("02", "check(collect)", "async def collect(functions):\n    calls = functions"),
        ("04", "check(first_error)", "async def first_error(*functions):\n    calls = functions"),
    ):
        names = {**vars(module_of("exercises", number)), "asyncio": asyncio}
        exec(f"{source}\n    await asyncio.gather(*[f() for f in calls])", names)

        async def cell(call: str = call, names: dict[str, Any] = names) -> str:
            return printed_by(lambda _: exec(call, names), None)

        with warnings.catch_warnings():  # of what other tests have left
            warnings.simplefilter("ignore")
            asyncio.run(asyncio.sleep(0))
            gc.collect()
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always")
            assert "in place of `asyncio.gather`" in " ".join(asyncio.run(cell()).split())
            gc.collect()
        assert [str(each.message) for each in left] == []


def test_no_task_of_asyncios_is_left_on_jupyters_loop() -> None:
    helpers = importlib.import_module("helpers")

    async def starts_a_task() -> None:
        await asyncio.create_task(asyncio.sleep(0))

    async def cell() -> str:
        attempt = helpers.attempt(starts_a_task)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.create_task(asyncio.sleep(0))  # the learner's next cell may
        return str(attempt)

    assert "asyncio's tasks do not work in trio" in asyncio.run(cell())


@pytest.mark.parametrize("number", ["02", "03", "04", "05", "06", "07", "10"])
def test_a_stub_gets_one_line_and_a_hint(number: str) -> None:
    name = next(name for name in LESSONS if name.startswith(number))
    shown = shown_for(module_of("exercises", number), f"check({function_of(name)})", stub_of(name))
    assert shown.startswith(f"✗ {function_of(name)} is written\n\nHint: ")
    assert "✓" not in shown


def test_the_stub_of_the_warm_up_does_so_too() -> None:
    source = "async def race(*async_fns):\n    raise NotImplementedError"
    shown = shown_for(module_of("exercises", "05"), "check_race(race)", source)
    assert shown.startswith("✗ race is written\n\nHint: ")


# ---- what the notebooks import ----


def test_run_says_what_to_write_for_a_call() -> None:
    helpers = importlib.import_module("helpers")
    with pytest.raises(TypeError, match=r"write run\(group\.run\), without the brackets"):
        helpers.run(RunGroup().run())
    with pytest.raises(TypeError, match=r"write run\(sleep_forever\), without the brackets"):
        helpers.run(trio.sleep_forever())


def test_run_takes_much_for_harmless_and_not_for_ever() -> None:
    helpers = importlib.import_module("helpers")

    async def many() -> None:  # pragma: no cover - printed_by() runs it
        async with trio.open_nursery() as nursery:
            for _ in range(10_000):
                nursery.start_soon(trio.sleep, 1)

    async def in_circles() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    printed_by(helpers.run, many)
    with pytest.raises(trio.TooSlowError, match=r"more than 100,000 steps: .* or is too large"):
        printed_by(helpers.run, in_circles)
    attempt = helpers.attempt(in_circles)
    assert attempt.spins
    assert str(attempt) == "it never came back: this goes round in circles and does not end"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing rings on Windows")
@pytest.mark.parametrize("how", ["sleeps", "goes round"])
def test_an_attempt_that_lets_no_other_task_run_is_ended(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    helpers = importlib.import_module("helpers")
    monkeypatch.setattr(helpers, "_LONGEST_STEP", 0.2)
    before = signal.getsignal(signal.SIGALRM)

    async def blocks() -> None:
        async with trio.open_nursery():
            if how == "sleeps":
                really_sleep(30)
            while True:
                pass

    attempt = helpers.attempt(blocks)
    assert (attempt.hangs, attempt.spins) == (True, True)
    assert "for 0.2 s no other task could run" in str(attempt)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing rings on Windows")
def test_the_alarm_waits_until_python_does_not_swallow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Seen to come out as a warning: Hypothesis has the collector call it, and so does Dask; trio
    # has a WeakKeyDictionary, out of which a callback takes what has gone.
    helpers = importlib.import_module("helpers")
    monkeypatch.setattr(helpers, "_LONGEST_STEP", 0.1)

    def called_by_the_collector(*_: object) -> None:
        really_sleep(0.2)

    def forgets() -> None:
        each = trio.Event()
        weakref.finalize(each, really_sleep, 0.2)
        del each  # here that is called, and takes longer than the alarm waits

    def calls_for_ever() -> None:
        weakref.finalize(forgets, really_sleep, 1000)()  # no callback

    async def blocks(held_up: Callable[[], object]) -> None:
        held_up()
        while True:  # pragma: no cover - it may ring before
            pass

    gc.callbacks.append(called_by_the_collector)
    try:
        assert helpers.attempt(blocks, gc.collect).spins
    finally:
        gc.callbacks.remove(called_by_the_collector)
    assert helpers.attempt(blocks, forgets).spins
    assert helpers.attempt(blocks, calls_for_ever).spins


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing rings on Windows")
@pytest.mark.parametrize("for_ever", [False, True])
def test_the_alarm_does_not_break_trio_if_that_can_be_helped(
    monkeypatch: pytest.MonkeyPatch, for_ever: bool
) -> None:
    # Seen to come out as a warning: one of trio's own generators was left where it was.
    helpers = importlib.import_module("helpers")
    monkeypatch.setattr(helpers, "_LONGEST_STEP", 0.1)
    if for_ever:
        monkeypatch.setattr(helpers, "_MOST_DELAYS", 20)
    done: list[str] = []

    def abort(_: object) -> trio.lowlevel.Abort:
        really_sleep(0.2)
        while for_ever:  # pragma: no cover - the alarm may ring before
            pass
        done.append("abort")
        return trio.lowlevel.Abort.SUCCEEDED

    async def waits() -> None:
        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            done.append("waits")

    async def blocks() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()  # in which trio calls abort()
            while True:
                pass

    attempt = helpers.attempt(blocks)
    assert (attempt.hangs, attempt.spins) == (True, not for_ever)
    assert done == ([] if for_ever else ["abort", "waits"])


def test_the_stop_button_stops_an_attempt() -> None:
    helpers = importlib.import_module("helpers")

    async def pressed() -> None:
        async with trio.open_nursery():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        helpers.attempt(pressed)


def test_an_attempt_that_breaks_trio_is_told_as_any_other() -> None:
    helpers = importlib.import_module("helpers")

    async def raise_in_a_task_of_the_system() -> None:
        async def fail() -> None:
            raise OSError("no network")

        trio.lowlevel.spawn_system_task(fail)
        await trio.sleep_forever()

    attempt = helpers.attempt(raise_in_a_task_of_the_system)
    assert not attempt.hangs
    assert type(attempt.error) is trio.TrioInternalError


def test_a_tree_keeps_the_order_of_the_group() -> None:
    group = ExceptionGroup("two", [ValueError("b"), ValueError("a")])
    tree = importlib.import_module("helpers").tree_of(group)
    assert tree.split() == ["ExceptionGroup:", "two", "ValueError:", "b", "ValueError:", "a"]


def test_a_timeline_shows_whose_nursery_a_task_is_in_not_who_started_it() -> None:
    helpers = importlib.import_module("helpers")
    timeline = helpers.Timeline("A title")

    async def child(name: str) -> None:
        with timeline.bar(name):
            await trio.sleep(1)

    async def starts(name: str, nursery: trio.Nursery) -> None:
        with timeline.bar(name):
            nursery.start_soon(child, f"of {name}")
            with timeline.bar(f"in {name}"):
                await trio.sleep(0.5)

    async def reports(*, task_status: trio.TaskStatus[None]) -> None:
        with timeline.bar("reports"):
            await trio.sleep(0.5)
            task_status.started()
            await trio.sleep(1)

    async def program() -> None:
        with timeline.bar("program"):
            async with trio.open_nursery() as outer:
                with timeline.bar("block"):
                    with timeline.bar("start"):
                        await outer.start(reports)
                    async with trio.open_nursery() as inner:
                        inner.start_soon(child, "inner")
                        inner.start_soon(starts, "passes it on", outer)
                        await starts("calls", outer)

    helpers.run(program)
    shown = [line.partition("━")[0].rstrip() for line in str(timeline).splitlines()[2:]]
    assert shown == [
        "program",
        "  block",
        "    start",
        "    calls",
        "      in calls",
        "    passes it on",
        "      in passes it on",
        "    inner",
        "  reports",
        "  of calls",
        "  of passes it on",
    ]


def test_a_timeline_can_be_shown_before_its_run() -> None:
    timeline = importlib.import_module("helpers").Timeline("A title")
    assert str(timeline) == "A title\n\nnothing has run yet"
    assert "A title" in timeline.to_svg()
    assert "nothing has run yet" in timeline.to_svg()


@pytest.mark.parametrize("where", ["", "    async with trio.open_nursery():\n    "])
def test_the_stop_button_leaves_one_line(where: str, tmp_path: Path) -> None:
    code = "from helpers import run\nimport signal, trio\n"
    code += "async def pressed():\n    signal.raise_signal(signal.SIGINT)\n"
    code += f"{where}    await trio.sleep_forever()\nrun(pressed)\n"
    command = [sys.executable, "-m", "IPython", "--colors=nocolor", "-c", code]
    settings = {**os.environ, "IPYTHONDIR": str(tmp_path)}  # nobody's own
    result = subprocess.run(
        command, cwd=FOLDER, env=settings, capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "stopped: KeyboardInterrupt"
