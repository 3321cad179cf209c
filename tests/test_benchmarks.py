"""The benchmark measures what it says: every contender does its work, and cheats are found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
from runs import once_is_enough

FOLDER = Path(__file__).parent / "benchmarks"

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(FOLDER), *sys.path])
    import contenders
    from contenders import BARE, CONTENDERS, Contender, Work, check


@pytest.mark.parametrize(
    "contender",
    [
        pytest.param(
            each,
            id=each.name,
            marks=pytest.mark.skipif(not each.is_installed, reason=f"no {each.module} here"),
        )
        for each in CONTENDERS
    ],
)
def test_a_contender_does_what_it_is_measured_for(contender: Contender) -> None:
    check(contender)


async def leaving_one_out(work: Work) -> None:
    await contenders.bare_nursery(Work(work.executes[1:], []))


async def not_stopping_when_cancelled(work: Work) -> None:
    with trio.CancelScope(shield=True), trio.move_on_after(1):
        await contenders.bare_nursery(work)


async def forgetting_the_interrupts(work: Work) -> object:
    await contenders.bare_nursery(work)
    return contenders.VALUE


async def interrupting_backwards(work: Work) -> object:
    backwards = Work(work.executes[::-1], work.interrupts[::-1])
    return await contenders.by_hand_with_interrupts(backwards)


async def with_a_longer_grace(work: Work) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contenders, "GRACE", contenders.GRACE + 1)
        return await contenders.by_hand_with_interrupts(work)


async def wrapping_the_error(work: Work) -> object:
    async with trio.open_nursery():
        return await contenders.by_hand(work)


@pytest.mark.parametrize(
    ("run", "lacks", "interrupts", "returns"),
    [
        (leaving_one_out, "begins all", False, False),
        (not_stopping_when_cancelled, "ends at once when cancelled", False, False),
        (contenders.bare_nursery, "returns the first value", False, True),
        (forgetting_the_interrupts, "calls the interrupts in order", True, True),
        (interrupting_backwards, "calls the interrupts in order", True, True),
        (with_a_longer_grace, "ends what ignores its interrupt", True, True),
        (wrapping_the_error, "raises the first error itself", False, True),
    ],
)
def test_a_cheat_is_found(
    run: Callable[[Work], Awaitable[object]], lacks: str, interrupts: bool, returns: bool
) -> None:
    cheat = attrs.evolve(BARE, run=run, interrupts=interrupts, returns=returns)
    with pytest.raises(AssertionError, match=lacks):
        check(cheat)


@once_is_enough
def test_the_command_prints_a_table_for_the_readme() -> None:
    command = [sys.executable, str(FOLDER), "--times", "--markdown", "--rounds=1"]
    command += ["--only=default", "--only=own", "--n=1", "--n=10"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    head, rule, bare, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert head.split(" | ")[1:] == ["n = 1", "n = 10", "peak bytes per actor |"]
    assert rule == "| --- | --: | --: | --: |"
    assert bare.startswith("| bare nursery | 1.00 | 1.00 | ")
    assert [row.split(" | ")[0] for row in rows] == [
        "| **RunGroup**",
        "| **RunGroup**, each actor with interrupt and grace",
        "| Go's oklog/run",
    ]
