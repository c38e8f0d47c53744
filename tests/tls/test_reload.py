"""Certificates are renewed while calls are under way; none of them is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from callmethod import ChannelOptions, ClientTls, Code, RpcError, ServerTls
from testing_pb2 import Number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_reload_under_load(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    names = {"dns": ("localhost",), "ips": ("127.0.0.1",)}
    cert, key = secrets.ca.issue("server 0", **names).write(tmp_path, "server")
    server = serve(tls=ServerTls(cert, key, client_ca=secrets.ca.pem))
    over, failures, made = threading.Event(), [], [0, 0, 0]

    def calls(place: int, *, anew: bool) -> None:
        """Over one connection, or over one for each call."""
        options = ChannelOptions(timeout=20.0)
        stub = connect(server.address, options=options)
        try:
            while not over.is_set():
                assert stub.twice(None, Number(value=3)).value == 6
                made[place] += 1
                if anew:
                    stub.channel.close()
                    stub = connect(server.address, options=options)
            assert anew or stub.channel.stats()["connections_total"] == 1
        except Exception as error:
            failures.append(error)

    threads = [
        threading.Thread(target=calls, args=(place,), kwargs={"anew": place == 2})
        for place in range(3)
    ]
    for thread in threads:
        thread.start()
    for renewal in range(1, 20):
        secrets.ca.issue(f"server {renewal}", **names).write(tmp_path, "server")
        server.reload_tls()
        before = made[2]
        wait_until(lambda before=before: made[2] >= before + 2)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(made) > 20
    assert server.stats()["rejected_total"] == {}
    assert server.stats()["calls_total"] == {"ok": sum(made)}


def test_a_reload_changes_whom_new_connections_meet(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    foreign: Callable[..., Any],
    tmp_path: Path,
) -> None:
    names = {"dns": ("localhost",), "ips": ("127.0.0.1",)}
    first = secrets.ca.issue("first", **names)
    cert, key = first.write(tmp_path, "server")
    server = serve(tls=ServerTls(cert, key, client_ca=secrets.ca.pem))
    stub = connect(server.address)
    assert stub.twice(None, Number(value=1)).value == 2

    def shown() -> Any:
        return dict(part[0] for part in foreign(server.address).getpeercert()["subject"])

    assert shown()["commonName"] == "first"
    secrets.ca.issue("second", **names).write(tmp_path, "server")
    assert shown()["commonName"] == "first"
    server.reload_tls()
    assert shown()["commonName"] == "second"
    # What will not do changes nothing.
    key.write_bytes(first.key)
    with pytest.raises(ValueError, match="is not that of the first certificate"):
        server.reload_tls()
    key.unlink()
    with pytest.raises(FileNotFoundError):
        server.reload_tls()
    assert shown()["commonName"] == "second"
    server.reload_tls(ServerTls(first.cert, first.key))
    assert shown()["commonName"] == "first"
    assert stub.twice(None, Number(value=2)).value == 4
    assert stub.channel.stats()["connections_total"] == 1


def test_what_is_revoked_later(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    tmp_path: Path,
    refused: Callable[..., None],
) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_bytes(secrets.ca.crl())
    server = serve(tls=secrets.server_tls(crl=crl))
    impatient = ChannelOptions(wait_for_ready=False)
    before = connect(server.address)
    assert before.twice(None, Number(value=1)).value == 2
    crl.write_bytes(secrets.ca.crl(secrets.client))
    server.reload_tls()
    with pytest.raises(RpcError):
        connect(server.address, options=impatient).twice(None, Number(value=1))
    refused(server, "certificate_revoked")
    # A connection that is there is not asked again.
    assert before.twice(None, Number(value=1)).value == 2


def test_a_channel_renews_its_own(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any, tmp_path: Path
) -> None:
    secrets.ca.issue("ada", expired=True).write(tmp_path, "client")
    tls = ClientTls(secrets.ca.pem, tmp_path / "client.pem", tmp_path / "client.key")
    server = serve()
    stub = connect(server.address, tls=tls, options=ChannelOptions(wait_for_ready=False))
    with pytest.raises(RpcError, match="CertificateExpired"):
        stub.twice(None, Number(value=1))
    secrets.ca.issue("ada").write(tmp_path, "client")
    stub.channel.reload_tls()
    patient = connect(server.address, tls=tls)
    assert patient.twice(None, Number(value=1)).value == 2
    stub = connect(server.address, tls=tls, options=ChannelOptions(wait_for_ready=False))
    stub.channel.reload_tls(secrets.client_tls(server_name="elsewhere.example"))
    with pytest.raises(RpcError, match="not valid for name") as caught:
        stub.twice(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE


def test_there_must_be_something_to_reload(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any
) -> None:
    server = serve(tls=None)
    with pytest.raises(RuntimeError, match="the server speaks no TLS"):
        server.reload_tls()
    with pytest.raises(RuntimeError, match="the channel speaks no TLS"):
        connect(server.address, tls=None).channel.reload_tls()
    secure = serve()
    with pytest.raises(TypeError, match="not ClientTls"):
        secure.reload_tls(secrets.client_tls())
    with pytest.raises(ValueError, match="also_plain cannot change"):
        secure.reload_tls(secrets.server_tls(also_plain=True))
