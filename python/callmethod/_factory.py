"""The factory of a worker's services: how it is named, found in the worker, and what it may give.

A factory travels to the workers by name, as a class does that is pickled: a worker is a new
interpreter and has nothing of the process that started it.
"""

from __future__ import annotations

import dataclasses
import importlib
import operator
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from callmethod import aio
from callmethod._binding import check_service
from callmethod.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod.tls import ServerTls

PROGRAM = "__mp_main__"
"""Name of the user's program in a worker, as in the processes of `multiprocessing`: its
`if __name__ == "__main__"` is not run there."""


in_worker = False
"""Whether this process is a worker."""


@dataclasses.dataclass(frozen=True)
class Name:
    """Where a factory stands.

    Attributes:
        module: to be imported.
        attribute: of that module; with dots, of something in it.
        program: file of the program, for a factory that stands in the program itself.
    """

    module: str
    attribute: str
    program: str | None = None

    def __str__(self) -> str:
        """Return it as it is written in a call of `serve`."""
        return f"{self.module}:{self.attribute}"


def name_of(factory: str | Callable[[], Any]) -> Name:
    """Return the name of a factory; nothing is imported for it.

    Raises:
        TypeError: neither a name nor callable.
        ValueError: no `module:attribute`, or nothing that such a name could be given to.
    """
    if isinstance(factory, str):
        module, _, attribute = factory.partition(":")
        if not all(part.isidentifier() for part in f"{module}.{attribute}".split(".")):
            raise ValueError(f"the factory is named as 'module:attribute', not {factory!r}")
        return _placed(module, attribute)
    if not callable(factory):
        raise TypeError(
            f"the factory is a callable, or its name 'module:attribute', not {factory!r}"
        )
    module = str(getattr(factory, "__module__", ""))
    attribute = str(getattr(factory, "__qualname__", ""))
    try:
        found = operator.attrgetter(attribute)(sys.modules[module])
    except (AttributeError, KeyError):
        found = None
    if found != factory:
        raise ValueError(
            f"workers find the factory by its name, and {factory!r} has none; a function or a "
            "class at the top of a module has one"
        )
    return _placed(module, attribute)


def _placed(module: str, attribute: str) -> Name:
    """Return the name, where the program's own module goes by one that means it in a worker."""
    if module != "__main__":
        return Name(module, attribute)
    main = sys.modules["__main__"]
    # python -m package.module
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return Name(spec.name, attribute)
    path = Path(getattr(main, "__file__", None) or "")
    if not path.is_file():
        raise ValueError(
            f"workers could not find {attribute}: this program has no file that they could load, "
            "like a notebook or python -c; put the factory into a module"
        )
    return Name(module, attribute, str(path.absolute()))


def find(name: Name) -> Callable[[], Any]:
    """Import and return a factory.

    Raises:
        TypeError: what is there cannot be called.
        Exception: whatever an import may raise.
    """
    program = name.program
    module = importlib.import_module(name.module) if program is None else _load(program)
    found: Callable[[], Any] = operator.attrgetter(name.attribute)(module)
    if not callable(found):
        raise TypeError(f"{name} is a factory's name, and there is {found!r}")
    return found


def _load(path: str) -> ModuleType:
    """Run the program's file as a module."""
    module = ModuleType(PROGRAM)
    module.__file__ = path
    sys.modules["__main__"] = sys.modules[PROGRAM] = module
    # Not by its loader, which would leave a compiled file beside it, as no program does.
    loader = SourceFileLoader(PROGRAM, path)
    exec(loader.source_to_code(loader.get_data(path), path), module.__dict__)  # noqa: S102
    return module


def server_of(made: Any, name: Name, tls: ServerTls | None) -> Server:
    """Return the server that a factory gave, or one of the services that it gave, by `tls`.

    Raises:
        TypeError: it gave something else.
        ValueError: two services with one bare name; a server, which says itself how it speaks TLS.
    """
    if isinstance(made, aio.Server):
        made = made.server
    if isinstance(made, Server):
        if tls is not None:
            raise ValueError(
                f"{name} gives a server, which says itself how it speaks TLS: give tls= to it, and "
                "not to serve()"
            )
        return made
    services: list[Any] = [*made] if isinstance(made, (list, tuple)) else [made]
    try:
        for service in services:
            check_service(service)
    except TypeError as error:
        raise TypeError(
            f"{name} gives a service, a list of services, or a callmethod.Server; "
            f"it gave {made!r}: {error}"
        ) from None
    # Listens nowhere so far.
    server = Server(None, tls=tls)
    for service in services:
        server.add_service(service)
    return server
