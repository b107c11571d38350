#!/usr/bin/env python3
"""Fuzz the core, guided by its coverage.

    python tools/fuzz.py calls -max_total_time=300 corpus/
    python tools/fuzz.py wire crash-...    # repeat one input

Arguments after the target's name go to libFuzzer. Needs atheris. docs/testing.md explains how to
build the core with coverage and sanitizers.
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
    logging.disable(logging.WARNING)  # close() logs the number of unsent messages
    target = TARGETS[sys.argv.pop(1)]()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


main()
