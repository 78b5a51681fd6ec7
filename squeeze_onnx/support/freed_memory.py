"""Memory that was freed, given back to the system: glibc keeps pages between blocks that are still in use."""

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Let the allocator of C return what is free, where it can be told to (glibc's malloc_trim); elsewhere nothing happens.

    Sessions and copies of a large model are many blocks of some megabytes, which stay with the process when they are freed.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
