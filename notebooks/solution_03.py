"""A solution for notebook 03: a clean-up that always has a chance, and never for ever."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio


async def with_clean_up(
    work: Callable[[], Awaitable[Any]], clean_up: Callable[[], Awaitable[Any]]
) -> Any:
    """Do the work, then the clean-up: always, and for two seconds at most."""
    try:
        return await work()
    finally:
        with trio.move_on_after(2, shield=True):
            await clean_up()
