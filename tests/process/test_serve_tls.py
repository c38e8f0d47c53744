"""TLS at a port of several processes: each worker reads the files when it starts."""

import importlib
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path

import pytest

import callmethod
from callmethod import ChannelOptions, ClientTls, Code, RpcError
from testing_pb2 import Number, Numbers_Stub

sys.path.insert(0, str(Path(__file__).parents[1] / "tls"))  # tests run in importlib mode
authority = importlib.import_module("authority")

NAMES = {"dns": ("localhost",), "ips": ("127.0.0.1",)}


class Written:
    """What stands in the program, for `repr` to show."""

    def __init__(self, code):
        self.code = code

    def __repr__(self):
        return self.code


@pytest.fixture
def ca():
    return authority.Authority()


@pytest.fixture
def server_tls(ca, tmp_path):
    """The options as a program writes them; the files are there."""
    ca.issue("first", **NAMES).write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    cert, key, root = (str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem"))
    return Written(f"callmethod.ServerTls({cert!r}, {key!r}, client_ca={root!r})")


@pytest.fixture
def client_tls(ca):
    ada = ca.issue("ada")
    return ClientTls(ca.pem, ada.cert, ada.key)


def shown(address, ca):
    """The name in the certificate that a new connection is shown."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cadata=ca.pem.decode())
    with (
        socket.create_connection((host, int(port)), timeout=10.0) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return dict(part[0] for part in secured.getpeercert()["subject"])["commonName"]


def test_a_renewed_certificate_comes_with_a_rolling_restart(
    serve, server_tls, client_tls, channel_factory, ca, tmp_path, wait_until
):
    served = serve("app:Pids", tls=server_tls).up()
    over, failures, pids = threading.Event(), [], set()

    def calls():
        options = ChannelOptions(timeout=20.0)
        channel = channel_factory(
            served.address, protocol=callmethod.BaiduStd(), tls=client_tls, options=options
        )
        while not over.is_set():
            try:
                pids.add(Numbers_Stub(channel).twice(None, Number(value=0)).value)
            except RpcError as error:
                failures.append(error)
            over.wait(0.005)

    threads = [threading.Thread(target=calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert shown(served.address, ca) == "first"
    before = served.pids()
    ca.issue("second", **NAMES).write(tmp_path, "server")
    served.script.send(signal.SIGHUP)
    served.until("log INFO rolling restart ends")
    # One of the old ones may still take what came to it before it was told.
    wait_until(lambda: shown(served.address, ca) == "second")
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pids & before
    assert pids & served.pids()
    plain = channel_factory(
        served.address,
        protocol=callmethod.BaiduStd(),
        options=ChannelOptions(wait_for_ready=False),
    )
    with pytest.raises(RpcError, match="the server speaks TLS") as caught:
        Numbers_Stub(plain).twice(None, Number(value=0))
    assert caught.value.code is Code.UNAVAILABLE
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)


def test_files_that_will_not_do_leave_the_old_workers(
    serve, server_tls, client_tls, channel_factory, ca, tmp_path
):
    served = serve("app:Pids", workers=1, tls=server_tls).up()
    before = served.pids()
    (tmp_path / "server.key").write_bytes(ca.issue("other", **NAMES).key)
    served.script.send(signal.SIGHUP)
    served.until("log ERROR rolling restart given up")
    assert served.logged("is not that of the first certificate in")
    assert served.pids() == before
    channel = channel_factory(served.address, protocol=callmethod.BaiduStd(), tls=client_tls)
    assert {Numbers_Stub(channel).twice(None, Number(value=0)).value} == before
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)


def test_a_server_of_a_factory_says_itself_how_it_speaks(serve, server_tls):
    served = serve("app:make", workers=1, tls=server_tls)
    code, _, errors, _ = served.script.end(30)
    assert code == 1
    assert "give tls= to it, and not to serve()" in errors
