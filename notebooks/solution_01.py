"""A solution for notebook 01: another actor exits first."""

import trio

from trio_rungroup import RunGroup


async def server() -> None:
    """Answer requests."""
    await trio.sleep_forever()


async def ticker() -> None:
    """Print something every second."""
    while True:
        await trio.sleep(1)
        print(f"tick at {trio.current_time():g} s")


async def job() -> str:
    """Work for three and a half seconds."""
    await trio.sleep(3.5)
    return "the job is done"


async def watchdog() -> None:
    """Look at the disk, and find it full."""
    await trio.sleep(1.6)
    raise OSError("the disk is full")


def make_group() -> RunGroup:
    """Put all four into a group. The order of adding does not matter here."""
    group = RunGroup()
    group.add(server)
    group.add(ticker)
    group.add(job)
    group.add(watchdog)
    return group
