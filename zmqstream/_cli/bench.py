"""bench: hands over to zmqstream/_bench, which has the command line and the benchmarks."""

from __future__ import annotations

import sys
from typing import NoReturn


def take_over(arguments: list[str]) -> NoReturn:
    from zmqstream._bench import command

    command.main(arguments)
    sys.exit(0)
