"""Callers that never stop, for tests that take their server down."""

import threading
import time

import callmethod
from callmethod import Controller
from testing_pb2 import Number, Numbers_Stub


class Load:
    """Callers on a channel each; every call is kept: when it began, its process, or its failure."""

    def __init__(self, address, callers, timeout, calls_per_channel):
        self.address = address
        self.timeout = timeout
        self.calls_per_channel = calls_per_channel
        self.calls = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.over.is_set():
            channel = callmethod.Channel(self.address)
            stub = Numbers_Stub(channel)
            last = None
            for _ in range(self.calls_per_channel):
                if self.over.is_set():
                    break
                began = time.monotonic()
                try:
                    last = stub.twice(Controller(timeout=self.timeout), Number(value=10)).value
                    self.calls.append((began, last, None))
                except callmethod.RpcError as error:
                    self.calls.append((began, last, str(error)))
            channel.close()

    def stop(self):
        """The calls that failed: (when it began, who had answered before, why)."""
        self.over.set()
        for thread in self.threads:
            thread.join(self.timeout + 5)
            assert not thread.is_alive()
        return [call for call in self.calls if call[2] is not None]

    def answered(self):
        return [pid for _, pid, error in self.calls if error is None]
