"""grpcio, its blocking server: handlers on a pool of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from common import announce, parser

import bench_pb2

LONGEST = 64 * 1024 * 1024


def echo(request, context):
    return bench_pb2.Message(payload=request.payload)


def handlers(function):
    """Make the handlers of the service; generated code would do the same."""
    method = grpc.unary_unary_rpc_method_handler(
        function,
        request_deserializer=bench_pb2.Message.FromString,
        response_serializer=bench_pb2.Message.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("bench.Echo", {"echo": method})


OPTIONS = [("grpc.max_receive_message_length", LONGEST), ("grpc.max_send_message_length", LONGEST)]


def main():
    made = parser(__doc__)
    made.add_argument("--max-workers", type=int, default=4)
    options = made.parse_args()
    server = grpc.server(ThreadPoolExecutor(options.max_workers), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(echo),))
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    announce(port)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
