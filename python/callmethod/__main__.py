"""`python -m callmethod` is the program `callmethod`."""

import sys

from callmethod.cli import main

if __name__ == "__main__":
    sys.exit(main())
