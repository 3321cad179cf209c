"""The package as it is seen from outside."""

from __future__ import annotations

import inspect
from importlib import metadata

import trio_rungroup
from trio_rungroup import RunGroup


def test_all_names_are_there_sorted_and_documented() -> None:
    assert trio_rungroup.__all__ == sorted(trio_rungroup.__all__)
    for name in trio_rungroup.__all__:
        assert inspect.getdoc(getattr(trio_rungroup, name))
    for method in (RunGroup.add, RunGroup.run, RunGroup.interrupt):
        assert inspect.getdoc(method)


def test_the_interface_is_the_contracts() -> None:
    assert str(inspect.signature(RunGroup)) == "(*, grace: 'float' = inf) -> None"
    assert list(inspect.signature(RunGroup.add).parameters) == [
        "self",
        "execute",
        "interrupt",
        "name",
        "grace",
        "ends_group",
        "reports_started",
    ]
    assert list(inspect.signature(RunGroup.run).parameters) == ["self", "task_status"]
    assert list(inspect.signature(RunGroup.interrupt).parameters) == ["self", "error"]


def test_the_source_can_be_looked_at() -> None:
    assert "class RunGroup" in inspect.getsource(RunGroup)


def test_the_package_depends_on_trio_and_attrs_only() -> None:
    requirements = metadata.requires("trio-rungroup") or []
    needed = [each for each in requirements if "extra ==" not in each]
    assert sorted(each.partition(">")[0] for each in needed) == ["attrs", "trio"]
