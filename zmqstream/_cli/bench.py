"""`bench`: its command line comes with the benchmarks' definitions, see zmqstream/_bench."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn


def take_over(arguments: list[str]) -> NoReturn:
    importlib.import_module("zmqstream._bench.suite.command").main(arguments)
    sys.exit(0)
