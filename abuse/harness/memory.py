"""What a process of ours holds when all that can be given back has been."""

from __future__ import annotations

import ctypes
import gc


def collect() -> dict[str, object]:
    """Collect garbage, have the allocator give pages back, and count what is left.

    After a message of some megabytes each thread of glibc's keeps an arena of about that size,
    which grows for a while and then is used again. Where there is no `malloc_trim` (musl, macOS),
    that stays part of what is measured.
    """
    for _ in range(2):
        gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return {"objects": len(gc.get_objects())}
