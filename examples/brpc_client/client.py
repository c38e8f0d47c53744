"""A Python client of a C++ brpc server: attachments, compression, deadlines, errors by number.

    python examples/brpc_client/client.py                        # a server of its own
    python examples/brpc_client/client.py --server host:port     # a server that is there

The second form is for brpc's own example, echo_c++: start its echo_server and name its port, 8000
by default. The first one starts what is in echo_server.py beside it, and holds what it prints
against what it expects: exit code 1 when they differ.
"""

import argparse
import logging
import sys

from echo_server import Echo

import callmethod
from echo_pb2 import EchoRequest, EchoService_Stub

EXPECTED = """\
plain: hello
attachment: hello, 1024 bytes came back
gzip and checksum: 5000 letters came back
deadline: DEADLINE_EXCEEDED
method left out: UNIMPLEMENTED, brpc's 1002
a number of the server's own: UNKNOWN, brpc's 4711, 'nothing to echo'
"""


def talk(channel):
    """Make some calls; yield a line about each."""
    stub = EchoService_Stub(channel)

    # Without `done` a call blocks. It needs no controller, and raises when it fails.
    yield f"plain: {stub.Echo(None, EchoRequest(message='hello')).message}"

    # A controller carries what goes along with the request, and what came with the response.
    controller = callmethod.Controller(request_attachment=bytes(1024))
    response = stub.Echo(controller, EchoRequest(message="hello"))
    came_back = len(controller.response_attachment)
    yield f"attachment: {response.message}, {came_back} bytes came back"

    # The response is inflated whatever the server chose.
    controller = callmethod.Controller(compression="gzip", checksum="message")
    response = stub.Echo(controller, EchoRequest(message="m" * 5000))
    yield f"gzip and checksum: {len(response.message)} letters came back"

    # The deadline goes to the server as well; brpc's handlers may ask for it.
    try:
        stub.Echo(callmethod.Controller(timeout=0.1), EchoRequest(message="slow", pause_ms=500))
        yield "deadline: answered in time"
    except callmethod.RpcError as error:
        yield f"deadline: {error.code.name}"

    # What brpc knows by a number is in `native_code`; `code` is the same for every protocol.
    try:
        stub.Shout(None, EchoRequest(message="hello"))
        yield "method left out: it is there"
    except callmethod.RpcError as error:
        yield f"method left out: {error.code.name}, brpc's {error.native_code}"
    try:
        stub.Echo(None, EchoRequest(message=""))
        yield "a number of the server's own: no, it answered"
    except callmethod.RpcError as error:
        number = f"{error.code.name}, brpc's {error.native_code}, {error.text!r}"
        yield f"a number of the server's own: {number}"


def main():
    """Talk to the server that is named, or to one of our own."""
    parser = argparse.ArgumentParser(description="A client of a brpc server.")
    parser.add_argument("--server", metavar="host:port")
    target = parser.parse_args().server
    if target is not None:
        with callmethod.Channel(target) as channel:  # baidu_std is what channels speak
            for line in talk(channel):
                print(line, flush=True)
        return
    logging.getLogger("callmethod").setLevel(logging.CRITICAL)  # calls fail on purpose here
    server = callmethod.Server(protocols=[callmethod.BaiduStd()])
    server.add_service(Echo())
    said = []
    with server, callmethod.Channel(server.address) as channel:
        for line in talk(channel):
            print(line, flush=True)
            said.append(line)
    if said != EXPECTED.splitlines():
        sys.exit(f"expected was:\n{EXPECTED}")


if __name__ == "__main__":
    main()
