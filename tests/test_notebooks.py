"""Every notebook is run from a fresh kernel; what a reader sees is what is stored.

`python notebooks/refresh.py` stores it anew. What is checked beyond that is what can be
counted of a good notebook; what cannot, somebody has looked at.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

import trio_rungroup

Cell: TypeAlias = dict[str, Any]

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PACKAGE = Path(trio_rungroup.__file__).parent
NAMES = [path.stem for path in NOTEBOOKS]
LESSONS = [name for name in NAMES if not name.startswith("00")]

every_notebook = pytest.mark.parametrize("name", NAMES)
once_is_enough = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="takes a minute, and the solutions run on every Python"
)
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


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All notebooks as they are after a run, each in a kernel of its own, two at a time."""
    folder = tmp_path_factory.mktemp("notebooks")
    command = [sys.executable, str(FOLDER / "refresh.py"), "--to", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_there_are_notebooks() -> None:
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(len(NAMES))]
    assert len(LESSONS) == 8  # what runs for each of them below has run


# ---- they run, and are what is stored ----


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Python words its errors anew")
@every_notebook
def test_a_run_shows_what_is_stored(name: str, fresh: Path) -> None:
    stored, ran = ([*map(seen, read(name, folder))] for folder in (FOLDER, fresh))
    assert ran == stored, "python notebooks/refresh.py stores it anew"


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
def test_its_cells_are_short(name: str) -> None:
    lengths = [len(cell["source"].splitlines()) for cell in code_of(name)]
    assert lengths[0] <= 6, "the first cell only imports"
    assert max(lengths) <= 25
    assert statistics.median(lengths) < 10


@every_lesson
def test_it_asks_shows_fails_once_and_lets_the_reader_try(name: str) -> None:
    text = text_of(name)
    assert len(re.findall(r"(?i)\bpredict\b", text)) >= 2
    assert "What you see" in text
    assert re.search(r"(?i)\btweak\b", text)
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
    return importlib.import_module(f"{kind}_{name[:2]}")


def printed_by(check: Callable[[object], None], attempt: object) -> str:
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        check(attempt)
    assert time.monotonic() - began < 60, "a learner is told soon, also on a busy machine"
    return out.getvalue()


def stub_of(name: str) -> str:
    """What the learner finds; the last one if there are steps towards it."""
    stubs: list[str] = [
        c["source"] for c in code_of(name) if "raise NotImplementedError" in c["source"]
    ]
    return stubs[-1]


def function_of(name: str) -> str:
    names: list[str] = re.findall(r"(?m)^(?:async )?def (\w+)", stub_of(name))
    return names[-1]


@every_lesson
def test_the_solution_passes_its_check(name: str) -> None:
    solution = getattr(module_of("solution", name), function_of(name))
    shown = printed_by(module_of("exercises", name).check, solution)
    assert "✓" in shown
    assert "✗" not in shown


@every_lesson
@once_is_enough
def test_other_right_answers_pass_too(name: str) -> None:
    exercises = module_of("exercises", name)
    for answer in getattr(exercises, "ALSO_RIGHT", ()):
        shown = printed_by(exercises.check, answer)
        assert "✗" not in shown, answer


@every_lesson
def test_what_the_learner_finds_fails_with_a_hint(name: str) -> None:
    cells = code_of(name)
    stub = [cell["source"] for cell in cells].index(stub_of(name))
    outputs = [text for cell in cells[stub + 1 :] for _, text in seen(cell)]
    assert any("✗" in text and "int" in text for text in outputs)


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
