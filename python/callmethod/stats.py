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
    bytes_received_total: int
    bytes_sent_total: int
    log_records_dropped_total: int
    panics_total: int
    accept_errors_total: int
