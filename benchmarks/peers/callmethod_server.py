"""Our server, with the same handlers."""

from __future__ import annotations

import ast
import asyncio
import gc

from common import announce, parser
from handlers import AsyncEcho, Echo

import callmethod

# Default limits: what is measured is what users get.
PROTOCOLS = {
    "indexed": callmethod.Indexed(id_width=4, reply="by_id"),
    "baidu_std": callmethod.BaiduStd(),
}


def main():
    made = parser(__doc__)
    made.add_argument("--protocol", choices=sorted(PROTOCOLS), default="indexed")
    made.add_argument("--handlers", choices=["sync", "async"], default="sync")
    made.add_argument("--loop", choices=["own", "asyncio", "uvloop"], default="own")
    made.add_argument("--max-workers", type=int, default=None)
    made.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of callmethod.Server that has no option here",
    )
    options = made.parse_args()
    arguments = {"max_workers": options.max_workers}
    for setting in options.server:
        name, _, value = setting.partition("=")
        arguments[name] = ast.literal_eval(value)
    service = AsyncEcho if options.handlers == "async" else Echo
    kind = callmethod.Server if options.loop == "own" else callmethod.aio.Server
    server = kind(f"127.0.0.1:{options.port}", protocols=[PROTOCOLS[options.protocol]], **arguments)
    server.add_service(service(options.nap, options.compute))
    if options.loop == "own":
        server.start()
        freeze()
        announce(int(server.address.rpartition(":")[2]))
        server.serve_forever()
    elif options.loop == "uvloop":
        import uvloop

        uvloop.run(on_loop(server))
    else:
        asyncio.run(on_loop(server))


def freeze():
    # What lives now lives on; the collector need not look at it again.
    gc.collect()
    gc.freeze()


async def on_loop(server):
    async with server:
        freeze()
        announce(int(server.address.rpartition(":")[2]))
        await server.wait()


if __name__ == "__main__":
    main()
