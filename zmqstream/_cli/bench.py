"""`bench`: its command line is in zmqstream/_bench, with the benchmarks."""

from __future__ import annotations

import sys
from typing import NoReturn


def take_over(arguments: list[str]) -> NoReturn:
    from zmqstream._bench import command

    command.main(arguments)
    sys.exit(0)
