"""What `add` refuses, and what it says to write instead."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine
from inspect import (
    CO_ASYNC_GENERATOR,
    CO_COROUTINE,
    CO_GENERATOR,
    CO_ITERABLE_COROUTINE,
    CO_VARARGS,
    CO_VARKEYWORDS,
)
from types import CodeType, CoroutineType, FunctionType, MethodType
from typing import Any, NoReturn, cast

from ._record import shorten

_ANY_GENERATOR = CO_GENERATOR | CO_ASYNC_GENERATOR
_ASYNCIO_HELP = "asyncio code does not run on trio by itself; wrap it with trio_asyncio.aio_as_trio"
_GROUP_HELP = "a group is added by its pair: group.add(inner.run, inner.interrupt)"
_ASYNCIO_ERRORS = {
    RuntimeError: "no running event loop",
    AttributeError: "'NoneType' object has no attribute 'create_future'",  # asyncio.Event().wait()
    TypeError: "trio.run received unrecognized yield message",
}


def default_name(execute: Callable[..., object]) -> str:
    """Name an actor after its function: `__qualname__`, of `.func` for a partial."""
    name = getattr(execute, "__qualname__", None)
    if type(name) is str:
        return name
    function = _inside(execute)
    for attribute in ("__qualname__", "__name__"):  # a compiled function may have the second only
        name = getattr(function, attribute, None)
        if isinstance(name, str):
            return str.__str__(name)
    return type(function).__qualname__


def as_grace(grace: float) -> float:
    """Check a number of seconds."""
    if type(grace) is float and grace >= 0:
        return grace  # nearly always
    # isinstance(grace, SupportsFloat) says the same and costs more than the rest of add().
    if not hasattr(type(grace), "__float__"):
        raise TypeError(
            f"grace must be a number of seconds, not {_kind(grace)}; leave it out to wait as "
            "long as it takes"
        )
    try:
        seconds = float(grace)
    except OverflowError:  # a very long integer
        seconds = math.inf if grace > 0 else -math.inf
    if not seconds >= 0:
        raise ValueError(f"grace must be 0 or more seconds, not {grace}")
    return seconds


def check_execute(execute: Callable[..., object], *, reports_started: bool | None) -> None:
    """Refuse what cannot be an actor's `execute`; None leaves its parameters unchecked."""
    code = getattr(execute, "__code__", None)
    if type(code) is CodeType and code.co_flags & CO_COROUTINE:
        parameters = code.co_argcount + code.co_kwonlyargcount
        if "asyncio" in code.co_filename:
            _refuse_asyncio(execute)
        if reports_started or parameters != (type(execute) is MethodType):
            _check_parameters(execute, reports_started=reports_started)
        return  # nearly always; what follows takes nearly twice as long
    if not callable(execute):
        _refuse_object(execute)
    function = _inside(execute)
    if _has_flag(function, CO_ASYNC_GENERATOR):
        raise TypeError(
            f"{default_name(execute)} is an async generator function (it has a `yield`); add "
            "an async function that iterates over it: `async for ... in ...`"
        )
    _refuse_asyncio(function)
    _check_parameters(execute, reports_started=reports_started)


def _refuse_object(thing: object) -> NoReturn:
    """Refuse what is no function, and say which one was meant."""
    if isinstance(thing, CoroutineType):
        name = thing.__name__
        frame = thing.cr_frame
        thing.close()  # or Python would warn that it was never awaited
        if frame is not None and _is_in_asyncio(frame.f_globals.get("__name__")):
            raise TypeError(f"{name} is asyncio's: {_ASYNCIO_HELP}")
        if thing.__qualname__ == "RunGroup.run":
            raise TypeError(_GROUP_HELP)
        raise TypeError(
            f"add() takes the async function itself, not a coroutine object: write "
            f"group.add({name}) instead of group.add({name}(...)), and "
            f"group.add(functools.partial({name}, ...)) to pass arguments"
        )
    if hasattr(thing, "run") and hasattr(thing, "interrupt"):
        raise TypeError(_GROUP_HELP)
    is_command = isinstance(thing, (str, list))
    actor = "process_actor(['sleep', '5'])" if is_command else "signal_actor()"
    raise TypeError(
        f"add() takes an async function without parameters, not {_kind(thing)}; a pair is added "
        f"with a star: group.add(*{actor})"
    )


def _check_parameters(execute: Callable[..., object], *, reports_started: bool | None) -> None:
    """Refuse a function that cannot be called as actors are: with a `task_status` at most."""
    function, given, keywords = execute, 0, set[str]()
    if type(execute) is functools.partial:  # what derives from it may call it in its own way
        partial = cast("functools.partial[object]", execute)
        function, given, keywords = partial.func, len(partial.args), set(partial.keywords)
    is_method = type(function) is MethodType
    plain = cast("MethodType", function).__func__ if is_method else function
    if reports_started is None or type(plain) is not FunctionType:
        return  # a proxy shows the code of what it wraps, and knows how to call it
    # Not inspect.signature, which takes several times as long as all the rest of add().
    code = plain.__code__
    given += is_method
    count, of_keywords = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    by_name = names[code.co_posonlyargcount : count + of_keywords]
    takes_any_name = code.co_flags & CO_VARKEYWORDS != 0
    needed = {
        *names[given : count - len(plain.__defaults__ or ())],
        *names[count : count + of_keywords],
    }.difference(plain.__kwdefaults__ or (), keywords)
    name = default_name(execute)
    if (given > count and not code.co_flags & CO_VARARGS) or (
        not takes_any_name and not keywords.issubset(by_name)
    ):
        raise TypeError(f"{name} does not take the arguments that functools.partial gives it")
    if reports_started and not takes_any_name and "task_status" not in by_name:
        raise TypeError(
            f"{name} takes no keyword task_status, which reports_started=True passes; write "
            "`async def execute(*, task_status):`, and call task_status.started() in it"
        )
    if "task_status" in needed and not reports_started:
        raise TypeError(f"{name} needs a task_status: write group.add(..., reports_started=True)")
    if needed.difference({"task_status"}):
        instead = f"group.add(functools.partial({name}, ...))"
        if names[0] == "self" and "self" in needed:
            instead = f"group.add(instance.{name.rpartition('.')[2]})"
        elif not code.co_flags & CO_COROUTINE:
            instead += (
                f", or group.add(*{name}(...)) if it makes a pair; an interrupt is the second "
                "argument"
            )
        raise TypeError(f"{name} is called without arguments, and needs some; write {instead}")


def check_interrupt(interrupt: object) -> None:
    """Refuse what cannot be an actor's interrupt."""
    # Nearly always a plain function or method, and inspect.signature costs 11 µs.
    code = getattr(interrupt, "__code__", None)
    if type(code) is CodeType and not (code.co_kwonlyargcount or code.co_flags & _ANY_GENERATOR):
        most = code.co_argcount - (type(interrupt) is MethodType)
        if most == 1 or 1 < most <= 1 + len(getattr(interrupt, "__defaults__", None) or ()):
            return
    if close_coroutine(interrupt):
        name = getattr(interrupt, "__name__", "interrupt")
        raise TypeError(
            "the second argument is the interrupt itself, not a coroutine object: write "
            f"{name}, or `lambda error: {name}(...)`, instead of {name}(...)"
        )
    if not callable(interrupt):
        raise TypeError(
            "the second argument is the interrupt, a function of one argument, not "
            f"{_kind(interrupt)}; to pass arguments to execute, write "
            "functools.partial(execute, argument)"
        )
    if _is_generator_function(interrupt):
        raise TypeError(
            f"the interrupt {default_name(interrupt)} is a generator function (it has a "
            "`yield`), which would never run; use a sync or async function"
        )
    if _why_not(interrupt, None) is not None:
        name = default_name(interrupt)
        raise TypeError(
            f"the interrupt {name} is called with one argument, the error of the first exit, "
            "which it cannot take; write `lambda error: ...` to wrap it (and execute comes first, "
            "its interrupt second)"
        )


def check_handler(handler: Callable[..., object]) -> None:
    """Refuse what cannot be called with a stream: else its first connection would end it all."""
    name = default_name(handler)
    if _is_generator_function(handler):
        raise TypeError(
            f"the handler {name} is a generator function (it has a `yield`), which would never "
            "run; use an async function"
        )
    if _why_not(handler, None) is not None:
        raise TypeError(
            f"the handler {name} is called with one argument, the stream, which is not what it "
            "takes; use functools.partial to pass more"
        )


def check_task_status(task_status: object) -> None:
    """Refuse what has no `started()` to be called when the group is up, and not awaited."""
    started = getattr(task_status, "started", None)
    if not callable(started) or _has_flag(_inside(started), CO_COROUTINE):
        raise TypeError(
            "task_status is what nursery.start passes: write `await nursery.start(group.run)`; or "
            "an object of your own with a method `started(value)`, which is not async; not "
            f"{_kind(task_status)}"
        )


def check_cause(error: BaseException | None) -> None:
    """Refuse what no interrupt expects to be given."""
    if error is not None and not isinstance(error, BaseException):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"interrupt() takes an exception or None, not {_kind(error)}; write "
            'group.interrupt(RuntimeError("..."))'
        )


def refuse_parameters(function: Callable[..., object]) -> None:
    """Refuse what cannot be called without arguments."""
    if (error := _why_not(function)) is not None:
        raise TypeError(
            f"{default_name(function)} is called without arguments, and that fails: {error}; use "
            "functools.partial(function, argument)"
        )


def unique_name(names: dict[str, int], execute: Callable[..., object], name: str | None) -> str:
    """Check a name, or make one; `names` holds those of the group, and is kept.

    It holds the last number given for each name, and no more, so this does not search: ten
    thousand actors added from one function are named in linear time.
    """
    if name is not None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        name = str.__str__(name)  # a plain one: what is derived from it may do anything
        if _is_taken(names, name):
            raise ValueError(f"the name {shorten(name)!r} is taken; choose another")
        names[name] = 1
        return name
    base = default_name(execute)
    number = names.get(base)
    if number is None and not _is_taken(names, base):
        names[base] = 1
        return base
    number = 2 if number is None else number + 1
    while (numbered := f"{base} #{number}") in names:
        number += 1
    names[base] = number
    return numbered


def _is_taken(names: dict[str, int], name: str) -> bool:
    """Tell whether a name was given, or made of another one and a number."""
    if "#" in name:
        base, _, number = name.rpartition(" #")
        if number.isdecimal() and len(number) < 10:
            last = names.get(base, 0)
            if 1 < int(number) <= last and name == f"{base} #{int(number)}":
                return True
    return name in names


def as_coroutine(result: object, function: Callable[..., object]) -> Coroutine[Any, Any, object]:
    """Check what a call handed back, and make it a coroutine if it is not."""
    if isinstance(result, CoroutineType):
        return result  # pyright: ignore[reportUnknownVariableType]
    name = default_name(function)
    if getattr(result, "_asyncio_future_blocking", None) is not None:
        raise TypeError(f"{name}() returned an asyncio future: {_ASYNCIO_HELP}")
    if inspect.isawaitable(result):
        return _await(result)
    if inspect.isasyncgen(result):
        raise TypeError(
            f"{name}() returned an async generator; add an async function that iterates over "
            "it: `async for ... in ...`"
        )
    if isinstance(result, tuple):
        raise TypeError(
            f"{name}() returned a tuple; a function that makes a pair is called, and its pair "
            f"added with a star: group.add(*{name}())"
        )
    if isinstance(function, type) and _has_flag(function.__call__, CO_COROUTINE):
        raise TypeError(f"{name} is a class; make an object of it: group.add({name}(...))")
    raise TypeError(
        f"{name} is not an async function: it returned {_kind(result)}, nothing to await. "
        "Make it `async def`, or run it in a thread of its own: "
        "group.add(*thread_actor(execute, interrupt))"
    )


def to_await(
    result: object, interrupt: Callable[..., object]
) -> Coroutine[Any, Any, object] | None:
    """Check what an interrupt handed back: a coroutine, if there is something to await."""
    if inspect.isawaitable(result):
        return as_coroutine(result, interrupt)
    if inspect.isasyncgen(result) or inspect.isgenerator(result):
        raise TypeError(
            f"the interrupt {default_name(interrupt)} returned a generator, which would never run; "
            "use a sync or async function"
        )
    return None


def asyncio_hint(error: BaseException) -> str:
    """Explain the errors that asyncio code raises on trio; empty for any other."""
    for kind, begins in _ASYNCIO_ERRORS.items():
        # Nothing is asked of an object of another class: it may do anything.
        text = error.args[0] if type(error) is kind and error.args else None
        if type(text) is str and text.startswith(begins):
            return f" ({_ASYNCIO_HELP})"
    return ""


def close_coroutine(thing: object) -> bool:
    """Close a coroutine object where a function is wanted; tell whether it was one."""
    if isinstance(thing, CoroutineType):
        thing.close()  # or Python would warn that it was never awaited
        return True
    return False


def _inside(function: Callable[..., object]) -> Callable[..., object]:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    return function


def _has_flag(function: object, flag: int) -> bool:
    # As inspect.iscoroutinefunction and the like, without looking for partials and markers.
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and code.co_flags & flag != 0


def _is_generator_function(function: Callable[..., object]) -> bool:
    inside = _inside(function)
    return _has_flag(inside, _ANY_GENERATOR) and not _has_flag(inside, CO_ITERABLE_COROUTINE)


def _refuse_asyncio(function: Any) -> None:  # noqa: ANN401 - a function, or what can be called
    if _is_in_asyncio(getattr(function, "__module__", "")):
        raise TypeError(f"{default_name(function)} is asyncio's: {_ASYNCIO_HELP}")


def _is_in_asyncio(module: object) -> bool:
    return str(module).partition(".")[0] == "asyncio"


# Not protected from Ctrl-C, so that what it awaits is not: on this very line it would be raised
# in place of the awaitable. No coroutine takes this road.
async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _why_not(function: Callable[..., object], *arguments: object) -> TypeError | None:
    """Tell why a function cannot be called with these arguments, if that shows."""
    inside = _inside(function)
    if hasattr(inside, "__signature__"):
        return None  # functools.wraps() copies it, to a wrapper that may take other arguments
    if hasattr(inside, "__code__") and type(inside) not in (FunctionType, MethodType):
        return None  # a proxy shows the code of what it wraps, a function of mypyc's an empty one
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # it is what will be called
    except (TypeError, ValueError):  # built-in functions need not tell
        # What derives from it may call it in its own way.
        if type(function) is functools.partial and _tells_what_it_takes(_inside(function)):
            return TypeError("it does not take the arguments that functools.partial gives it")
        return None
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return error
    return None


def _tells_what_it_takes(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return False
    return True


def _kind(thing: object) -> str:
    return "None" if thing is None else f"an object of type {type(thing).__name__}"
