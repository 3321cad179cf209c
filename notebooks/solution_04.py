"""A solution of notebook 04: `first_error`."""

from collections.abc import Awaitable, Callable

import trio


async def first_error(*async_fns: Callable[[], Awaitable[object]]) -> None:
    """Run them all; if some fail, raise the error that came first, as itself."""
    errors: list[Exception] = []

    async with trio.open_nursery() as nursery:

        async def run_one(async_fn: Callable[[], Awaitable[object]]) -> None:
            try:
                await async_fn()
            except Exception as error:  # raised below
                errors.append(error)
                nursery.cancel_scope.cancel(reason="another one has failed")

        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)

    if errors:
        raise errors[0]
