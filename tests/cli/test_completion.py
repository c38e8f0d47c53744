"""`callmethod completion`: scripts for shells."""

from __future__ import annotations

import subprocess

import pytest

from callmethod.cli.main import parser


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{word}'" for word in words)
    asked = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _callmethod\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, timeout=20, check=True
    )
    assert ended.stderr == ""
    return set(ended.stdout.split())


def test_bash_completes_commands_options_and_values(run) -> None:
    script = run("completion", "bash").out
    commands = completed(script, "callmethod", "")
    assert {"serve", "call", "list", "describe", "bench", "decode", "completion"} <= commands
    assert completed(script, "callmethod", "des") == {"describe"}
    assert {"--proto", "--protocol"} <= completed(script, "callmethod", "call", "--pro")
    values = completed(script, "callmethod", "call", "x", "--protocol", "")
    assert values == {"baidu_std", "hulu_pbrpc", "sofa_pbrpc", "indexed"}
    assert "baidu_std" in completed(script, "callmethod", "decode", "bai")
    assert completed(script, "callmethod", "call", "x", "--compression", "g") == {"gzip"}
    assert "/etc/passwd" in completed(script, "callmethod", "list", "--proto", "/etc/passw")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_has_every_command_and_option(run, shell: str) -> None:
    ended = run("completion", shell)
    assert (ended.status, ended.err) == (0, "")
    for word in ("descriptor-set", "reflection", "in-flight"):
        assert word in ended.out
    # Single quotes hold what stands in them, so there must be an even number.
    assert ended.out.count("'") % 2 == 0


def test_the_help_of_each_command_can_be_read(run) -> None:
    commands = parser()._subparsers._group_actions[0].choices
    assert len(commands) >= 7
    for name in commands:
        ended = run(name, "--help")
        assert ended.status == 0
        assert "examples:\n  " in ended.out
        assert max(map(len, ended.out.splitlines())) <= 100
    assert "68 no answer in time" in run("--help").out
