"""`callmethod completion`: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, cast

from callmethod.cli import arguments
from callmethod.cli.failure import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = """\
Print a script that has your shell complete the commands and options of callmethod."""

EXAMPLES = """\
  source <(callmethod completion bash)
  callmethod completion zsh > "${fpath[1]}/_callmethod"
  callmethod completion fish > ~/.config/fish/completions/callmethod.fish"""

FILES = {"FILE", "FOLDER"}
"""Words in the help for what is completed by names of files."""


def add(commands: arguments.Commands, parser: Callable[[], arguments.Parser]) -> None:
    """Add the command, for the command line of `parser`."""
    own = arguments.command(commands, "completion", "print a script for your shell", TEXT, EXAMPLES)
    own.add_argument("shell", choices=[*SHELLS])
    own.set_defaults(run=functools.partial(run, parser))


def run(parser: Callable[[], arguments.Parser], args: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(SHELLS[args.shell](parser()))
    return Exit.OK


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001  (argparse has no other way to ask)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            known = cast("argparse._SubParsersAction[argparse.ArgumentParser]", action)  # noqa: SLF001
            return known.choices
    return {}


def _lines(parser: argparse.ArgumentParser) -> dict[str, str]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001
        if action.option_strings and action.help is not argparse.SUPPRESS:
            yield action


def _values(action: argparse.Action) -> list[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return [*arguments.PROTOCOLS] if action.type is arguments.protocol else []


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _wants_file(action: argparse.Action) -> bool:
    return str(action.metavar) in FILES


def _bash(parser: argparse.ArgumentParser) -> str:
    commands = _commands(parser)
    lines = [
        "# bash completion of callmethod; made by `callmethod completion bash`",
        "_callmethod() {",
        '  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=""',
        "  local each",
        '  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        f'    case "$each" in {"|".join(commands)}) command=$each; break;; esac',
        "  done",
        "  COMPREPLY=()",
        '  case "$command $before" in',
    ]
    for name, command in commands.items():
        for action in _options(command):
            if not _takes_value(action):
                continue
            names = "|".join(f'"{name} {option}"' for option in action.option_strings)
            values = " ".join(_values(action))
            if values:
                reply = f'COMPREPLY=($(compgen -W "{values}" -- "$word"))'
            elif _wants_file(action):
                reply = 'COMPREPLY=($(compgen -f -- "$word"))'
            else:
                reply = ":"
            lines.append(f"    {names}) {reply}; return;;")
    lines += ["  esac", '  case "$command" in']
    lines.append(f'    "") COMPREPLY=($(compgen -W "{" ".join(commands)}" -- "$word"));;')
    for name, command in commands.items():
        words = [option for action in _options(command) for option in action.option_strings]
        places = [value for action in command._actions  # noqa: SLF001
                  if not action.option_strings for value in _values(action)]  # fmt: skip
        words += places
        lines.append(
            f'    {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")'
            ' $(compgen -f -- "$word"));;'
        )
    lines += ["  esac", "}", "complete -o filenames -F _callmethod callmethod", ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace("%(default)s", "").replace("'", "").replace("[", "(").replace("]", ")")


def _zsh(parser: argparse.ArgumentParser) -> str:
    lines = ["#compdef callmethod", "# made by `callmethod completion zsh`", "_callmethod() {"]
    lines += ["  local -a commands", "  commands=("]
    texts = _lines(parser)
    lines += [f"    '{name}:{_quoted(texts.get(name, ''))}'" for name in _commands(parser)]
    lines += ["  )", "  if (( CURRENT == 2 )); then", "    _describe command commands"]
    lines += ["    return", "  fi", "  case $words[2] in"]
    for name, command in _commands(parser).items():
        lines.append(f"    {name}) _arguments \\")
        for action in _options(command):
            for option in action.option_strings:
                text = _quoted(_first(action))
                value = ""
                if _takes_value(action):
                    values = " ".join(_values(action))
                    how = f"({values})" if values else ("_files" if _wants_file(action) else "")
                    value = f":value:{how}"
                lines.append(f"      '{option}[{text}]{value}' \\")
        places = [value for action in command._actions  # noqa: SLF001
                  if not action.option_strings for value in _values(action)]  # fmt: skip
        how = f"({' '.join(places)})" if places else "_files"
        lines += [f"      '*:argument:{how}';;"]
    lines += ["  esac", "}"]
    # Found by its name the file is the function itself; else it is read by `source`.
    lines += ['if [ "$funcstack[1]" = "_callmethod" ]; then _callmethod "$@"']
    lines += ["else compdef _callmethod callmethod; fi", ""]
    return "\n".join(lines)


def _first(action: argparse.Action) -> str:
    """Return what an option is for, without what stands behind a semicolon or in brackets."""
    return (action.help or "").partition(";")[0].partition(" (default")[0]


def _fish(parser: argparse.ArgumentParser) -> str:
    texts = _lines(parser)
    names = " ".join(_commands(parser))
    lines = ["# fish completion of callmethod; made by `callmethod completion fish`"]
    lines += [
        f"complete -c callmethod -n 'not __fish_seen_subcommand_from {names}' -f -a {name}"
        f" -d '{_quoted(texts.get(name, ''))}'"
        for name in _commands(parser)
    ]
    for name, command in _commands(parser).items():
        seen = f"complete -c callmethod -n '__fish_seen_subcommand_from {name}'"
        for action in _options(command):
            words = "".join(
                f" -l {option[2:]}" if option.startswith("--") else f" -s {option[1:]}"
                for option in action.option_strings
            )
            values = " ".join(_values(action))
            if not _takes_value(action):
                value = ""
            elif values:
                value = f" -x -a '{values}'"
            else:
                value = " -r" if _wants_file(action) else " -x"
            lines.append(f"{seen}{words}{value} -d '{_quoted(_first(action))}'")
        lines += [
            f"{seen} -a '{' '.join(_values(action))}'"
            for action in command._actions  # noqa: SLF001
            if not action.option_strings and _values(action)
        ]
    return "\n".join([*lines, ""])


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
