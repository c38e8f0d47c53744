"""Where a server listens: addresses that are taken, IPv6, Unix paths, sockets made by others."""

import errno
import os
import socket
from pathlib import Path

import pytest

import callmethod
import testing_pb2
from testing_pb2 import Number


@pytest.fixture
def speaks(recorder, channel_factory, wait_until):
    """``speaks(server)``: one call reaches the recorder through the server's own address."""

    def check(server):
        recorder.values.clear()
        channel = channel_factory(server.address)
        testing_pb2.Numbers_Stub(channel).push(None, Number(value=6))
        wait_until(lambda: recorder.values == [6])
        channel.close()

    return check


def refused(service, bind, **options):
    """The OSError of a start that must fail; the server is none the worse for a stop."""
    server = callmethod.Server(bind, protocols=[callmethod.Indexed()], **options)
    server.add_service(service)
    with pytest.raises(OSError) as caught:
        server.start()
    server.stop(grace=0)
    return caught.value


def start_and_stop(service, bind):
    server = callmethod.Server(bind, protocols=[callmethod.Indexed()])
    server.add_service(service)
    with server:
        pass


def listening_unix(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_a_taken_port_is_an_error(recorder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refused(recorder, f"127.0.0.1:{taken.getsockname()[1]}")
    assert error.errno == errno.EADDRINUSE


def test_a_second_server_on_the_port_is_an_error(server_factory, recorder, speaks):
    first = server_factory(recorder)
    assert refused(recorder, first.address).errno == errno.EADDRINUSE
    speaks(first)


def test_two_servers_share_a_port_when_both_ask(server_factory, recorder, speaks):
    first = server_factory(recorder, reuse_port=True)
    second = server_factory(recorder, bind=first.address, reuse_port=True)
    assert second.address == first.address
    first.stop(grace=0)
    speaks(second)


def test_an_address_of_another_machine_is_an_error(recorder):
    # TEST-NET-1 (RFC 5737): no machine has it
    assert refused(recorder, "192.0.2.1:0").errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("bind", ["", "127.0.0.1", "127.0.0.1:many", "127.0.0.1:70000", "unix:"])
def test_what_is_no_address_is_an_error(bind, recorder):
    with pytest.raises((ValueError, OSError)):
        start_and_stop(recorder, bind)


def test_the_port_can_be_had_again_after_a_stop(server_factory, recorder, speaks):
    first = server_factory(recorder)
    speaks(first)
    first.stop(grace=1)
    second = server_factory(recorder, bind=first.address)
    assert second.address == first.address
    speaks(second)


def test_ipv6(server_factory, recorder, speaks):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    server = server_factory(recorder, bind="[::1]:0")
    assert server.address.startswith("[::1]:")
    assert not server.address.endswith(":0")
    speaks(server)


def test_unix_path_is_there_while_the_server_is(server_factory, recorder, speaks, tmp_path):
    path = tmp_path / "s"
    server = server_factory(recorder, bind=f"unix:{path}")
    assert server.address == f"unix:{path}"
    assert path.is_socket()
    speaks(server)
    server.stop(grace=1)
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(server_factory, recorder, speaks, tmp_path):
    path = tmp_path / "s"
    listening_unix(path).close()
    assert path.is_socket()
    server = server_factory(recorder, bind=f"unix:{path}")
    speaks(server)


def test_a_live_unix_socket_is_left_alone(recorder, tmp_path):
    path = tmp_path / "s"
    with listening_unix(path) as owner, socket.socket(socket.AF_UNIX) as client:
        error = refused(recorder, f"unix:{path}")
        assert error.errno == errno.EADDRINUSE
        owner.settimeout(5)
        client.connect(str(path))
        while True:  # the server may have knocked to see whether somebody lives there
            accepted, _ = owner.accept()
            with accepted:
                client.sendall(b"!")
                accepted.settimeout(5)
                if accepted.recv(1) == b"!":
                    break


def test_a_file_that_is_no_socket_is_left_alone(recorder, tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    refused(recorder, f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_path_without_a_folder_is_an_error(recorder, tmp_path):
    assert refused(recorder, f"unix:{tmp_path}/nowhere/s").errno == errno.ENOENT


def owner_can_use(sock, connect_to):
    """The socket still listens, and its owner can accept on it, if it says that it is to block."""
    assert sock.fileno() >= 0
    assert not os.get_blocking(sock.fileno()), "a server that has inherited it would block"
    sock.setblocking(True)
    with socket.socket(sock.family) as client:
        client.connect(connect_to)
        accepted, _ = sock.accept()
        with accepted:
            client.sendall(b"!")
            accepted.settimeout(5)
            assert accepted.recv(1) == b"!"


def test_a_ready_tcp_socket_is_served_and_given_back(server_factory, recorder, speaks):
    with socket.create_server(("127.0.0.1", 0)) as owned:
        name = owned.getsockname()
        server = server_factory(recorder, bind=owned)
        assert server.address == f"127.0.0.1:{name[1]}"
        speaks(server)
        server.stop(grace=1)
        owner_can_use(owned, name)


def test_a_ready_unix_socket_is_served_and_given_back(server_factory, recorder, speaks, tmp_path):
    path = str(tmp_path / "s")
    with listening_unix(path) as owned:
        server = server_factory(recorder, bind=owned)
        assert server.address == f"unix:{path}"
        speaks(server)
        server.stop(grace=1)
        assert Path(path).exists(), "the path is the owner's"
        owner_can_use(owned, path)


def test_a_ready_socket_serves_two_servers_in_turn(server_factory, recorder, speaks):
    with socket.create_server(("127.0.0.1", 0)) as owned:
        for _ in range(2):
            server = server_factory(recorder, bind=owned)
            speaks(server)
            server.stop(grace=1)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["idle", "udp"])
def test_a_socket_that_does_not_listen_is_an_error(kind, recorder):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises((ValueError, OSError)):
            start_and_stop(recorder, sock)
