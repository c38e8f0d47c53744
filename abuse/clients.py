"""Clients of callmethod on all protocols and with all faces, for the soak.

`work SECONDS` makes calls for so long and answers with how many ended in which way; `collect` and
`state` are as in `target.py`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections import Counter

import abuse_pb2
import callmethod

PROTOCOLS = (
    callmethod.BaiduStd(),
    callmethod.Hulu(),
    callmethod.Sofa(),
    callmethod.Indexed(id_width=4, reply="by_id"),
)
PATIENCE = 20.0


class Clients:
    """A channel for each protocol that stays, and many that do not."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channels = [callmethod.Channel(address, protocol=one) for one in PROTOCOLS]
        self.ended: Counter[str] = Counter()

    def work(self, seconds: float) -> dict[str, int]:
        self.ended = Counter()
        end = time.monotonic() + seconds
        works = (self.block, self.call_back, self.renew, self.awaits, self.hurry, self.circle)
        threads = [threading.Thread(target=one, args=(end,)) for one in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return dict(self.ended)

    def stubs(self):
        return [abuse_pb2.Target_Stub(channel) for channel in self.channels]

    def ends(self, call, expected: bytes) -> None:
        try:
            well = call().data == expected
            self.ended["OK" if well else "WRONG answer"] += 1
        except callmethod.RpcError as error:
            self.ended[error.code.name] += 1

    def block(self, end: float) -> None:
        """Sizes from nothing to 256 KiB."""
        size = 1
        while time.monotonic() < end:
            for stub in self.stubs():
                request = abuse_pb2.Note(data=bytes(size))
                controller = callmethod.Controller(timeout=PATIENCE)
                self.ends(lambda: stub.echo(controller, request), request.data)
            size = size * 4 % 262_143
            time.sleep(0.002)

    def call_back(self, end: float) -> None:
        while time.monotonic() < end:
            left = threading.Semaphore(0)
            stubs = self.stubs()
            for stub in stubs * 5:
                controller = callmethod.Controller(timeout=PATIENCE)

                def done(response, controller=controller):
                    self.ended["OK" if response is not None else controller.code.name] += 1
                    left.release()

                stub.echo(controller, abuse_pb2.Note(data=b"back"), done)
            for _ in stubs * 5:
                if not left.acquire(timeout=PATIENCE + 5):
                    self.ended["WRONG: done was not called"] += 1
            time.sleep(0.01)

    def renew(self, end: float) -> None:
        """A channel for a call, closed or dropped."""
        number = 0
        while time.monotonic() < end:
            number += 1
            protocol = PROTOCOLS[number % len(PROTOCOLS)]
            channel = callmethod.Channel(self.address, protocol=protocol)
            stub = abuse_pb2.Target_Stub(channel)
            request = abuse_pb2.Note(data=b"new")
            self.ends(lambda: stub.echo(callmethod.Controller(timeout=PATIENCE), request), b"new")
            if number % 2:
                channel.close()
            time.sleep(0.02)

    def awaits(self, end: float) -> None:
        """Tasks, of which some are cancelled."""

        async def main():
            async with callmethod.aio.Channel(self.address) as channel:
                stub = abuse_pb2.Target_Stub(channel)
                request = abuse_pb2.Note(data=b"aio")
                while time.monotonic() < end:
                    tasks = [
                        asyncio.ensure_future(
                            stub.echo(callmethod.Controller(timeout=PATIENCE), request)
                        )
                        for _ in range(20)
                    ]
                    await asyncio.sleep(0)
                    for task in tasks[::4]:
                        task.cancel()
                    for result in await asyncio.gather(*tasks, return_exceptions=True):
                        if isinstance(result, BaseException):
                            self.ended[type(result).__name__] += 1
                        else:
                            self.ended["OK" if result == request else "WRONG answer"] += 1
                    await asyncio.sleep(0.02)

        asyncio.run(main())

    def hurry(self, end: float) -> None:
        """Calls that end at their deadline, or are cancelled, since nobody answers."""
        stub = self.stubs()[0]
        while time.monotonic() < end:
            controller = callmethod.Controller(timeout=0.02)
            self.ends(lambda: stub.never(controller, abuse_pb2.Note()), b"")
            told = threading.Event()
            controller = callmethod.Controller(timeout=PATIENCE)
            stub.never(controller, abuse_pb2.Note(), lambda _, told=told: told.set())
            controller.StartCancel()
            if not told.wait(PATIENCE):
                self.ended["WRONG: done was not called"] += 1

    def circle(self, end: float) -> None:
        """Controllers, closures and channels that hold each other."""
        while time.monotonic() < end:
            channel = callmethod.Channel(self.address)
            controller = callmethod.Controller(timeout=PATIENCE)
            told = threading.Event()

            def done(response, held=(channel, controller), told=told):
                told.set()

            controller.mine = (controller, channel, done)
            controller.NotifyOnCancel(lambda mine=controller: mine)
            abuse_pb2.Target_Stub(channel).echo(controller, abuse_pb2.Note(), done)
            self.ended["OK" if told.wait(PATIENCE) else "WRONG: done was not called"] += 1
            del channel, controller, done
            time.sleep(0.05)


def main() -> None:
    clients = Clients(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "work":
            answer: object = clients.work(float(arguments[0]))
        elif order == "collect":
            gc.collect()
            answer = {"objects": len(gc.get_objects())}
        else:
            stats = clients.channels[0].stats()
            answer = {"stats": stats, "threads": threading.active_count()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
