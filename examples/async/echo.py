"""asyncio at both ends: a server and a client in one program, on one event loop.

    python examples/async/echo.py

It prints a line about each thing that it shows; exit code 1 when one is not as expected.
"""

import asyncio
import logging
import sys

import callmethod
from echo_pb2 import EchoRequest, EchoResponse, EchoService, EchoService_Stub

EXPECTED = """\
await: hello
gather: 0 1 2 3 4 5 6 7 8 9
the slow one came last: fast slow
the task is cancelled, and the call with it: CANCELLED
deadline: DEADLINE_EXCEEDED
handed on: DEADLINE_EXCEEDED, and DEADLINE_EXCEEDED further on
callback: hello
"""


class Echo(EchoService):
    """Handlers are coroutines; they run on the loop that started the server."""

    def __init__(self):
        self.onward = None  # where Shout calls
        self.failures = asyncio.Queue()  # what became of that

    async def Echo(self, rpc_controller, request, done):
        """Answer after the pause that was asked for. Returning a response ends the call."""
        await asyncio.sleep(request.pause_ms / 1000)
        return EchoResponse(message=request.message)

    async def Shout(self, rpc_controller, request, done):
        """Ask Echo, and make it louder.

        The call from here has no deadline of its own: it inherits what is left of the caller's.
        """
        controller = callmethod.Controller(timeout=None)
        try:
            response = await EchoService_Stub(self.onward).Echo(controller, request)
        except callmethod.RpcError as error:
            self.failures.put_nowait(error.code.name)
            raise
        return EchoResponse(message=response.message.upper())


async def talk(channel, failures):
    """Make some calls; yield a line about each."""
    stub = EchoService_Stub(channel)

    response = await stub.Echo(None, EchoRequest(message="hello"))
    yield f"await: {response.message}"

    # Calls are under way as soon as they are made; one connection carries any number of them.
    calls = [stub.Echo(None, EchoRequest(message=str(number))) for number in range(10)]
    yield "gather: " + " ".join(response.message for response in await asyncio.gather(*calls))

    # Answers come when they are ready, not in the order of the calls.
    calls = [
        stub.Echo(None, EchoRequest(message="slow", pause_ms=300)),
        stub.Echo(None, EchoRequest(message="fast")),
    ]
    came = [(await call).message for call in asyncio.as_completed(calls)]
    yield "the slow one came last: " + " ".join(came)

    # Cancelling the task that awaits ends the call as CANCELLED.
    controller = callmethod.Controller()

    async def ask():
        await stub.Echo(controller, EchoRequest(message="too long", pause_ms=2000))

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.1)
    ended = asyncio.Event()
    controller.NotifyOnCancel(ended.set)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await ended.wait()
        yield f"the task is cancelled, and the call with it: {controller.code.name}"

    try:
        slow = EchoRequest(message="slow", pause_ms=2000)
        await stub.Echo(callmethod.Controller(timeout=0.1), slow)
    except callmethod.RpcError as error:
        yield f"deadline: {error.code.name}"

    # The handler of Shout calls on with what is left of this deadline.
    try:
        await stub.Shout(callmethod.Controller(timeout=0.1), slow)
    except callmethod.RpcError as error:
        yield f"handed on: {error.code.name}, and {await failures.get()} further on"

    # `done` works here, too, as with any channel: it runs on the thread of callbacks.
    loop, answered = asyncio.get_running_loop(), asyncio.Queue()
    stub.Echo(
        None,
        EchoRequest(message="hello"),
        lambda response: loop.call_soon_threadsafe(answered.put_nowait, response.message),
    )
    yield f"callback: {await answered.get()}"


async def main():
    """Serve, talk, and compare."""
    logging.getLogger("callmethod").setLevel(logging.CRITICAL)  # calls fail on purpose here
    echo, said = Echo(), []
    server = callmethod.aio.Server("127.0.0.1:0", protocols=[callmethod.BaiduStd()])
    server.add_service(echo)
    async with server, callmethod.aio.Channel(server.address) as channel:
        echo.onward = channel
        async for line in talk(channel, echo.failures):
            print(line, flush=True)
            said.append(line)
    if said != EXPECTED.splitlines():
        sys.exit(f"expected was:\n{EXPECTED}")


if __name__ == "__main__":
    asyncio.run(main())
