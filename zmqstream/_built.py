"""Refuses the package's source folder if no core was built there for this Python.

This is imported first, because pyzmq may be missing too.
"""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES


def check(folder: str) -> None:
    """Raise ImportError if `folder` is the package's source, without a core for this Python."""
    core = os.path.join(folder, "_core")
    if os.path.exists(f"{core}.pyx") and not any(
        os.path.exists(core + suffix) for suffix in EXTENSION_SUFFIXES
    ):
        raise ImportError(
            f"{folder} is the source folder of zmqstream, not built for this Python: use "
            "`python3 dev.py COMMAND`, which builds it first, or run `pip install .` and start "
            "Python in another folder",
            name="zmqstream",  # makes `python -m zmqstream` print one line, without a traceback
        )


check(os.path.dirname(os.path.abspath(__file__)))
