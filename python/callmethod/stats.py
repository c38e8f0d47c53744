"""The counters, by name and type; `docs/stats.md` says what each counts."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Stats"]


class Stats(TypedDict):
    """What `Server.stats()` and `Channel.stats()` return; every key is always there."""

    connections: int
    connections_total: int
    disconnects_total: dict[str, int]
    connects_total: int
    connect_failures_total: int
    calls_received_total: int
    calls_in_flight: int
    calls_queued: int
    calls_total: dict[str, int]
    rejected_total: dict[str, int]
    responses_discarded_total: int
    late_endings_total: int
    calls_sent_total: int
    calls_unsent_total: int
    replies_sent_total: int
    replies_unsent_total: int
    late_replies_total: int
    retries_total: int
    bytes_received_total: int
    bytes_sent_total: int
    log_records_dropped_total: int
    panics_total: int
    accept_errors_total: int


def nothing_yet() -> Stats:
    """Return the counters of a server that was not started."""
    return Stats(
        connections=0,
        connections_total=0,
        disconnects_total={},
        connects_total=0,
        connect_failures_total=0,
        calls_received_total=0,
        calls_in_flight=0,
        calls_queued=0,
        calls_total={},
        rejected_total={},
        responses_discarded_total=0,
        late_endings_total=0,
        calls_sent_total=0,
        calls_unsent_total=0,
        replies_sent_total=0,
        replies_unsent_total=0,
        late_replies_total=0,
        retries_total=0,
        bytes_received_total=0,
        bytes_sent_total=0,
        log_records_dropped_total=0,
        panics_total=0,
        accept_errors_total=0,
    )
