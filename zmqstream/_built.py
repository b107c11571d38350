"""Refuses the source folder, where Python finds the package before it is built.

This is the first thing that is imported: pyzmq need not be there either.
"""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES


def check(folder: str) -> None:
    """Raise ImportError if this is the package's source, without a core for this Python."""
    core = os.path.join(folder, "_core")
    if os.path.exists(f"{core}.pyx") and not any(
        os.path.exists(core + suffix) for suffix in EXTENSION_SUFFIXES
    ):
        raise ImportError(
            f"{folder} is the source folder of zmqstream, not built for this Python: use "
            "`python3 dev.py COMMAND`, which builds it first, or `pip install .` and start Python "
            "in another folder",
            name="zmqstream",  # `python -m zmqstream` prints this as one line, without a traceback
        )


check(os.path.dirname(os.path.abspath(__file__)))
