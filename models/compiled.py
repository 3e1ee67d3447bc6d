"""Whether compiled loops are at hand: those of `models.kernels`, with the extra ``compiled`` (numba)."""

import logging
from functools import cache
from importlib import import_module
from types import ModuleType

_PACKAGE = "numba"

_log = logging.getLogger(__name__)


@cache
def kernels() -> ModuleType | None:
    """Return `models.kernels`, or None where numba is missing or cannot be used, which is logged.

    The first call takes some seconds where numba has kept nothing of an earlier process.
    """
    try:
        return import_module("models.kernels")  # when it is needed: numba alone takes a third of a second
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == _PACKAGE):
            _log.warning("numba is installed but cannot be used; ranking goes on without it: %s", error)
        return None
