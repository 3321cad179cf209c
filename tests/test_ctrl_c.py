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


@pytest.mark.parametrize("gap", ["1", "7", "40"])
def test_promise_19_a_second_ctrl_c_at_a_later_line_does_no_harm_either(gap: str) -> None:
    strike("one group, async interrupts", "5", gap)
