"""Exceptions taken apart: which part is the result, and what is its context."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Final, TypeGuard, TypeVar, cast

import trio

_ErrorT = TypeVar("_ErrorT", bound=BaseException)

# An exception class may define an attribute of its own in these places, or refuse to be set.
_EXCEPTIONS: Final = vars(BaseExceptionGroup)["exceptions"]
_MESSAGE: Final = vars(BaseExceptionGroup)["message"]
_CONTEXT: Final = vars(BaseException)["__context__"]
_TRACEBACK: Final = vars(BaseException)["__traceback__"]
_MRO: Final = vars(type)["__mro__"]


def is_a(error: object, kind: type[_ErrorT]) -> TypeGuard[_ErrorT]:
    """Look at the type alone.

    isinstance() also asks the error (`__class__`), and issubclass() compares classes, since that of
    `trio.Cancelled` is an abstract one: both may fail.
    """
    return any(each is kind for each in _MRO.__get__(type(error)))


def without_cancelled(error: BaseException) -> BaseException | None:
    """Take `trio.Cancelled` out: the very same object if there is none in it."""
    if is_a(error, trio.Cancelled):
        return None
    if is_a(error, BaseExceptionGroup):
        try:
            cancelled, rest = error.split(trio.Cancelled)
        except BaseException:  # noqa: BLE001 - its class may forbid it, or it is too deep
            return _leaves_without_cancelled(error)
        return error if cancelled is None else rest
    return error


def _leaves_without_cancelled(group: BaseExceptionGroup) -> BaseException | None:
    leaves = list(leaves_of(group))
    rest = [leaf for leaf in leaves if not is_a(leaf, trio.Cancelled)]
    if len(rest) == len(leaves):
        return group
    message = cast("str", _MESSAGE.__get__(group))
    return BaseExceptionGroup(message, rest).with_traceback(traceback_of(group)) if rest else None


def bare_in(error: BaseException) -> BaseException | None:
    """Find the KeyboardInterrupt, SystemExit or the like that must never be wrapped."""
    for leaf in leaves_of(error):
        if not (is_a(leaf, Exception) or is_a(leaf, trio.Cancelled)):
            return leaf
    return None


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """List the errors in a group, or in the groups in it; or the one error."""
    todo: list[BaseException] = [error]
    while todo:
        error = todo.pop()
        if is_a(error, BaseExceptionGroup):
            todo += reversed(_EXCEPTIONS.__get__(error))
        else:
            yield error


def context_of(error: BaseException) -> BaseException | None:
    return cast("BaseException | None", _CONTEXT.__get__(error))


def traceback_of(error: BaseException) -> types.TracebackType | None:
    return cast("types.TracebackType | None", _TRACEBACK.__get__(error))


def set_context(error: BaseException, context: BaseException | None) -> None:
    _CONTEXT.__set__(error, context)


def displace(error: BaseException, bare: BaseException) -> bool:
    """Make `error` the context of the bare exception that is raised in its place.

    A context that the bare one had moves to the end of the chain. Tells whether all of them can
    be reached from the bare one then; two chains that meet further down cannot be made one.
    """
    chain, before = _chain(error), _chain(bare)
    if any(each is error for each in before):
        return True  # it was raised while that was handled
    known = {id(each) for each in chain}
    if id(bare) in known:
        return False  # it would come before itself
    own = before[1:]
    if own and id(own[0]) not in known:
        if any(id(each) in known for each in own):
            return False  # the two chains meet further down
        if not is_a(own[0], trio.Cancelled):
            set_context(chain[-1], own[0])
    set_context(bare, error)
    return True


def _chain(error: BaseException) -> list[BaseException]:
    """List an exception, its context, the context of that, and so on."""
    chain, seen = [error], {id(error)}
    while (context := context_of(chain[-1])) is not None and id(context) not in seen:
        chain.append(context)
        seen.add(id(context))
    return chain
