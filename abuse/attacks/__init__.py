"""The attacks, a file for each family, in the order of the table."""

from __future__ import annotations

from attacks import first_bytes, messages, names, peers, tls

FAMILIES = {
    "first_bytes": first_bytes,
    "messages": messages,
    "names": names,
    "peers": peers,
    "tls": tls,
}
