"""What every notebook imports: `from helpers import run`.

`run` is `trio.run` in virtual time: an hour's sleep costs nothing, times are exact, and a
program that waits for ever is told so at once. Not for threads, sockets or processes: the
clock would jump past them.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing


def run(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function in virtual time.

    Raises:
        trio.TooSlowError: Everybody waits for something that nobody will do.
    """

    async def main() -> Any:
        with trio.fail_after(1e6):
            return await async_fn(*args)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def tree_of(error: BaseException) -> str:
    """Draw an exception, or a group of them, as a small tree: types and messages."""
    lines: list[str] = []

    def add(error: BaseException, indent: str) -> None:
        if isinstance(error, BaseExceptionGroup):
            lines.append(f"{indent}{type(error).__name__}: {error.message}")
            parts: list[BaseException] = list(error.exceptions)
            for part in sorted(parts, key=repr):
                add(part, indent + "    ")
        else:
            lines.append(f"{indent}{type(error).__name__}: {error}".rstrip(": "))
            lines.extend(f"{indent}  note: {note}" for note in getattr(error, "__notes__", ()))

    add(error, "")
    return "\n".join(lines)


def show_groups_as_trees() -> None:
    """Show an exception group that ends a cell as a tree, in the cell's own error output.

    IPython prints one to standard error, with paths and process numbers in it.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return

    def handler(shell: Any, kind: Any, error: Any, traceback: Any, tb_offset: Any = None) -> list[str]:
        text = tree_of(error)
        print(text, file=sys.stdout)
        return [text]

    shell.set_custom_exc((BaseExceptionGroup,), handler)


show_groups_as_trees()
