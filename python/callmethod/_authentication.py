"""The user's check of who calls, kept from letting anybody in by mistake."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(authenticate: Any) -> Callable[[bytes, str], bool]:
    """Return the check with what it gives looked at.

    Raises:
        TypeError: it is no plain function.
    """
    if not callable(authenticate):
        raise TypeError(f"authenticate must be callable, not {type(authenticate).__name__}")
    if _is_async(authenticate) or _is_async(getattr(authenticate, "__call__", None)):  # noqa: B004
        raise TypeError(
            "authenticate must be a plain function, which runs on a worker; a coroutine, which an "
            "`async def` gives, is neither yes nor no"
        )

    def judge(credential: bytes, peer: str) -> bool:
        verdict = authenticate(credential, peer)
        # A coroutine is a true value: without this it would let everybody in.
        if inspect.isawaitable(verdict) or inspect.isasyncgen(verdict):
            if inspect.iscoroutine(verdict):
                verdict.close()
            raise TypeError(f"authenticate gave a {type(verdict).__name__}, not True or False")
        return bool(verdict)

    return judge


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
