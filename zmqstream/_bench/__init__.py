"""Where the benchmarks are found: as zmqstream._bench.suite, which is the checkout's bench/suite.

pyproject.toml has the wheel's copy made from there. A checkout built in place has no copy; there
this package looks into bench/ itself.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
if not (_here / "suite").exists():
    __path__.append(str(_here.parents[1] / "bench"))
