"""Runs one attack: each line of its input says for how many seconds, each answer how many times."""

from __future__ import annotations

import json
import resource
import sys
import time

from attacks import FAMILIES


def main() -> None:
    address, family, name = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attack = next(one for one in FAMILIES[family].ATTACKS if one.name == name)
    print("ready", flush=True)
    for line in sys.stdin:
        times = attack.run(address, time.monotonic() + float(line))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
