"""`pytest bench` runs the works of zmqstream/_bench with pytest-benchmark and its options.

pytest bench -k receive                       the works whose names contain "receive"
pytest bench -k receive --benchmark-autosave  save the figures in .benchmarks/
pytest bench -k receive --benchmark-compare   show them beside those that were saved last
pytest bench --benchmark-disable              do each work once, without a measurement
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zmqstream
from zmqstream import _bench
from zmqstream._bench.machine import environment


def pytest_configure(config: pytest.Config) -> None:
    check_installed()


def check_installed() -> None:
    """Refuse to run if the installed definitions differ from those of the checkout."""
    used, here = Path(_bench.__path__[0]), Path(__file__).parents[1] / "zmqstream" / "_bench"
    for path in (*here.rglob("*.py"), *here.rglob("*.c")):
        copy = used / path.relative_to(here)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            raise pytest.UsageError(f"{path} differs from the installed {copy}; run: pip install .")


def pytest_report_header() -> str:
    return f"zmqstream: {zmqstream.__version__} in {Path(zmqstream.__file__).parent}"


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Save with the figures what else they depend on."""
    output_json["zmqstream"] = environment()
