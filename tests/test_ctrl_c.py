"""Promise 19: Ctrl-C at any line of the library's own code. See ctrl_c.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "ctrl_c.py"


def strike(*arguments: str) -> None:
    # The driver needs the trace function for itself: coverage must not start in it.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    process = subprocess.run(
        [sys.executable, str(DRIVER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    positions, *wrong = process.stdout.splitlines()
    assert wrong == []
    assert int(positions) > 150


@pytest.mark.parametrize(
    "scenario",
    [
        "one group",
        "one group, async interrupts",
        "nested groups",
        "started, then interrupted",
    ],
)
def test_promise_19_ctrl_c_at_every_line_loses_and_doubles_nothing(scenario: str) -> None:
    strike(scenario, "1")


# Most of the lines they execute have been struck above: every fifth will do.
@pytest.mark.parametrize(
    "scenario",
    [
        "reports its start, ends when all have returned",
        "no interrupts",
        "cancelled from outside",
        "cancelled from outside, async interrupts",
        "cancelled from outside, no interrupts",
    ],
)
def test_promise_19_nor_does_it_in_another_stop_struck_at_every_fifth_line(scenario: str) -> None:
    strike(scenario, "5")


@pytest.mark.parametrize(
    ("scenario", "step", "gap"),
    [
        ("one group, async interrupts", "5", "1"),
        ("one group, async interrupts", "5", "7"),
        ("one group, async interrupts", "5", "40"),
        ("nested groups", "17", "1"),
        ("nested groups", "17", "7"),
        ("nested groups", "17", "40"),
        ("nested groups", "17", "150"),
        ("cancelled from outside, async interrupts", "17", "7"),
        ("cancelled from outside, async interrupts", "17", "150"),
    ],
)
def test_promise_19_a_second_ctrl_c_at_a_later_line_does_no_harm_either(
    scenario: str, step: str, gap: str
) -> None:
    strike(scenario, step, gap)
