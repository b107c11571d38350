#!/usr/bin/env python3
"""End programs that have open streams, in many ways, and check how each program ended. Linux only.

    PYTHONPATH=. python tools/ends.py                      # each end 3 times on each loop
    PYTHONPATH=. python tools/ends.py --rounds 200         # 1,000 times; a quarter of an hour
    PYTHONPATH=. python tools/ends.py "sys.exit() in main" --loop uvloop

tests/support/program_ends.py has the programs, and says what is checked. pytest-asyncio and anyio
are used where they are installed.
"""

import os
import sys
from pathlib import Path

script = Path(__file__).resolve().parents[1] / "tests" / "support" / "program_ends.py"
os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])  # it must be __main__
