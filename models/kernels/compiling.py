"""How loops are compiled, and what the arrays are that they take."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])

# Arrays that are only read may be read-only ones.
BITS, BITS_OF_LINES = "Array(int32, 1, 'C', readonly=True)", "Array(int32, 2, 'C', readonly=True)"
FLAGS, POSITIONS = "Array(uint8, 1, 'C', readonly=True)", "Array(int64, 1, 'C', readonly=True)"
VECTOR, MATRIX = "Array(float32, 1, 'C', readonly=True)", "Array(float32, 2, 'C', readonly=True)"


def compiled(signature: str, *, loosely: bool = False) -> Callable[[Loop], Loop]:
    """Compile a function for one ``signature``; ``loosely``: sums may be made in any order."""

    def made_of(loop: Loop) -> Loop:
        freely: bool | set[str] = {"reassoc", "contract", "nsz"} if loosely else False
        try:
            made: Any = numba.njit(signature, boundscheck=False, fastmath=freely, cache=True)(loop)
        except RuntimeError:  # numba's word for having no folder to write to
            made = numba.njit(signature, boundscheck=False, fastmath=freely)(loop)
        return cast(Loop, made)

    return made_of
