#!/usr/bin/env python3
"""Fuzz for as long as is wanted, guided by the coverage of the core.

    python tools/fuzz.py calls -max_total_time=300 corpus/
    python tools/fuzz.py wire crash-...    # one input again

Arguments after the target's name are libFuzzer's. Needs atheris; docs/testing.md says how the core
is built with coverage and sanitizers.
"""

import logging
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz.target import Calls, Wire

TARGETS = {"wire": Wire, "calls": Calls}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz.py {'|'.join(TARGETS)} [libFuzzer's arguments]")
    logging.disable(logging.WARNING)  # of messages that a closed stream could not hand over
    target = TARGETS[sys.argv.pop(1)]()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


main()
