"""`callmethod stubs`: the command around `callmethod.codegen.write_stubs`."""

from __future__ import annotations

from pathlib import Path


def test_files_are_written_and_named(run, tmp_path: Path) -> None:
    ended = run("stubs", "game_service_pb2", "common_pb2", "--out", str(tmp_path))
    assert (ended.status, ended.err) == (0, "")
    first, second = map(Path, ended.out.splitlines())
    assert "class GameService" in first.read_text(encoding="utf-8")
    assert second == tmp_path / "common_pb2.pyi"


def test_mistakes(run, tmp_path: Path) -> None:
    ended = run("stubs", "nowhere_pb2")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err == "callmethod: No module named 'nowhere_pb2'\n"
    assert run("stubs", "json", "--out", str(tmp_path)).status == 3
    place = tmp_path / "file"
    place.write_text("", encoding="utf-8")
    assert run("stubs", "common_pb2", "--out", str(place)).status == 2
