"""Memory that a process keeps, instead of handing it back after each call and taking it anew at the next."""

from __future__ import annotations

import ctypes

MMAP_MAX, TRIM_THRESHOLD, ARENA_MAX = -4, -1, -8
"""Options of `mallopt`, as the header malloc.h of the GNU C library numbers them."""
SETTINGS = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, ARENA_MAX: 1}
GROWTH = 2
"""How many times what is in use at a time a process may come to hold: pieces that were freed do not fit all that follows.
Measured: 1.0 to 1.8."""

_kept = False


def keep_memory() -> bool:
    """Let this process keep the memory that it frees.

    On a CPU a compiled program takes its temporary memory anew in each call. The GNU C library has the kernel map large
    pieces and unmaps them afterwards, and the kernel fills each page with zeros when it is first touched: of the maps of
    whole networks on several images that is a tenth to two fifths of the time. With this, freed memory is used again.
    Maps of small networks become slower, by a fifth to two fifths, since all threads share one pool.

    Call it before JAX computes anything or lists its devices: threads that are there already have pools of their own.
    It holds for the whole process, whose memory stays at its peak. Plans then reckon with twice the memory.
    For the command `jaxrf`, and any other program, these environment variables do the same, but for the plans:
    `MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647`.

    Returns:
        Whether it was possible: False where the C library is another one, and nothing changed.

    Example:
        >>> keep_memory()  # doctest: +SKIP
        True
    """
    global _kept
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (others have a mallopt too, which means something else)
        adjust = library.mallopt
    except (OSError, AttributeError, TypeError):  # TypeError: on Windows a library needs a name
        return False
    _kept = all(adjust(option, value) for option, value in SETTINGS.items())
    return _kept


def growth() -> int:
    """How many times what is in use at a time this process may come to hold."""
    return GROWTH if _kept else 1
