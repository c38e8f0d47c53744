"""The command line: the program `callmethod`, and `python -m callmethod`."""

from callmethod.cli.main import main

__all__ = ["main"]
