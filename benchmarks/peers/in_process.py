"""The work of one call without a network: what one interpreter cannot be faster than."""

from __future__ import annotations

import argparse
import gc
import json
import time

from handlers import Echo

import bench_pb2

ROUND = 200


def main():
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--seconds", type=float, default=1.0)
    made.add_argument("--size", type=int, default=16)
    options = made.parse_args()
    handler, from_string = Echo().echo, bench_pb2.Message.FromString
    body = bench_pb2.Message(payload=b"x" * options.size).SerializeToString()

    def done(response):
        response.SerializeToString()

    gc.collect()
    gc.freeze()
    calls, begun = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begun) < options.seconds:
        for _ in range(ROUND):
            handler(None, from_string(body), done)
        calls += ROUND
    print(json.dumps({"calls": calls, "seconds": seconds, "calls_per_s": calls / seconds}))


if __name__ == "__main__":
    main()
