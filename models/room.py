"""Memory that a thread keeps from one use to the next."""

import threading

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Room(threading.local):
    """Memory for scores that each thread keeps.

    New memory of more than the C library keeps at hand comes from the kernel page by page, which takes
    nearly as long as the product that fills it.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._kept = np.empty(0, np.float32)

    def of(self, lines: int, items: int) -> Floats:
        """(lines, items) what this thread was given before holds something else from now on."""
        if self._kept.size < lines * items:
            self._kept = np.empty(lines * items, np.float32)
        return self._kept[: lines * items].reshape(lines, items)


class Zeros(threading.local):
    """Zeros that each thread keeps: who takes them leaves zeros behind."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept = np.zeros(0, np.float32)

    def of(self, count: int) -> Floats:
        """(count,) zeros."""
        if len(self._kept) < count:
            self._kept = np.zeros(count, np.float32)
        return self._kept[:count]
