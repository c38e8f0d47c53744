"""Who is measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.settings import PEERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.settings import Settings


@dataclass(frozen=True)
class Contestant:
    """A server: how it is started, and what it speaks."""

    name: str
    program: str
    """A file of peers/, or `echo`, the server without Python."""
    options: tuple[str, ...] = ()
    protocol: str = "indexed"
    """indexed, baidu_std, thrift or grpc; `none` for the loop without a network."""
    eager: bool = False
    """Whether it needs the interpreter that starts tasks eagerly."""
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, settings: Settings) -> list[str]:
        """Return the command that starts it."""
        if self.program == "echo":
            return [str(settings.binaries / "echo"), *self.options]
        python = settings.python
        if self.eager and settings.eager_python is not None:
            python = settings.eager_python
        return [python, str(PEERS / self.program), *self.options]

    def with_env(self, env: Mapping[str, str]) -> Contestant:
        """Return the same in another environment."""
        return dataclasses.replace(self, env=env)


UVLOOP = Contestant("uvloop by hand", "uvloop_server.py")
ASYNCIO = Contestant("asyncio by hand", "uvloop_server.py", ("--loop", "asyncio"))
ASYNCORE = Contestant("asyncore, tutorial", "asyncore_server.py")
THRIFT = Contestant("thriftpy2", "thrift_server.py", (), "thrift")
GRPC_AIO = Contestant("grpc.aio", "grpc_aio_server.py", (), "grpc")
GRPCIO = Contestant("grpcio sync", "grpcio_server.py", (), "grpc")
GRPCLIB = Contestant("grpclib on uvloop", "grpclib_server.py", (), "grpc")

OURS = Contestant("callmethod, indexed", "callmethod_server.py")
OURS_BAIDU = Contestant(
    "callmethod, baidu_std", "callmethod_server.py", ("--protocol", "baidu_std"), "baidu_std"
)
RUST = Contestant("Rust echo, indexed", "echo")
RUST_BAIDU = Contestant(
    "Rust echo, baidu_std", "echo", ("--protocol", "baidu_std"), protocol="baidu_std"
)
LOOP = Contestant("in-process loop", "in_process.py", (), "none")

UVLOOP_TASKS = Contestant("uvloop by hand, a Task each", "uvloop_server.py", ("--handlers", "task"))
OURS_ASYNC = Contestant(
    "callmethod, async, own loop", "callmethod_server.py", ("--handlers", "async")
)
OURS_ASYNC_UVLOOP = Contestant(
    "callmethod, async, on uvloop",
    "callmethod_server.py",
    ("--handlers", "async", "--loop", "uvloop"),
)
# The same once more on an interpreter that has eager tasks, and the opponent with them.
EAGER_UVLOOP_TASKS = Contestant(
    "uvloop by hand, a Task each (3.12+)", "uvloop_server.py", ("--handlers", "task"), eager=True
)
EAGER_UVLOOP = Contestant(
    "uvloop by hand, eager Tasks (3.12+)", "uvloop_server.py", ("--handlers", "eager"), eager=True
)
EAGER_OURS = Contestant(
    "callmethod, async, own loop (3.12+)",
    "callmethod_server.py",
    ("--handlers", "async"),
    eager=True,
)
EAGER_OURS_UVLOOP = Contestant(
    "callmethod, async, on uvloop (3.12+)",
    "callmethod_server.py",
    ("--handlers", "async", "--loop", "uvloop"),
    eager=True,
)
