"""Go's run.Group for trio: when the first actor exits, the others are stopped gracefully.

Begin with `RunGroup`, its `add` and its `run`. `signal_actor`, `listener_actor`, `process_actor`,
`thread_actor`, `future_actor` and `scope_actor` make actors that are ready; `Record` tells what
happened. `trio_rungroup.testing.check_actor` checks an actor of your own.
"""

from ._actors import (
    ScopeCancelled as ScopeCancelled,
    SignalReceived as SignalReceived,
    future_actor as future_actor,
    listener_actor as listener_actor,
    process_actor as process_actor,
    scope_actor as scope_actor,
    signal_actor as signal_actor,
    thread_actor as thread_actor,
)
from ._group import RunGroup as RunGroup
from ._record import ActorRecord as ActorRecord, Record as Record

__all__ = [
    "ActorRecord",
    "Record",
    "RunGroup",
    "ScopeCancelled",
    "SignalReceived",
    "future_actor",
    "listener_actor",
    "process_actor",
    "scope_actor",
    "signal_actor",
    "thread_actor",
]
