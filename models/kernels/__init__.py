"""Loops that numba compiles, where calls of numpy and torch would cost more than what they do.

Imported through `models.compiled` alone, since numba need not be installed. Each function has a plain
form, named in its docstring, which stands where numba is missing and is the tests' oracle. They trust their
callers: no index is checked. Compiled as they are imported, which takes some seconds, or read from
numba's cache where one can be kept.
"""

from models.kernels.blending import add_had, add_sums, best_of_shelves
from models.kernels.ranking import best_of_lines
from models.kernels.single import gru_of_one, scores_of_one

__all__ = ["add_had", "add_sums", "best_of_lines", "best_of_shelves", "gru_of_one", "scores_of_one"]
