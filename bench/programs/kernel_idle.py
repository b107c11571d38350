"""Measures the wake-ups and the processor time of an idle Jupyter kernel, with each class.

    python bench/programs/kernel_idle.py [SECONDS]

Linux only: it reads /proc.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
from kernel_output import kernel
from shared import OURS, STREAM, processor_seconds


def wake_ups(process: psutil.Process) -> int:
    """The number of times that the threads of the process have gone to sleep."""
    count = 0
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        status = (task / "status").read_text()
        count += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count


def main(seconds: float) -> None:
    for name in (OURS, STREAM):
        with kernel(name) as (process, _, _):
            time.sleep(1)  # the last reply may still be in transit
            before = wake_ups(process), processor_seconds(process)
            time.sleep(seconds)
            woken = (wake_ups(process) - before[0]) / seconds
            busy = (processor_seconds(process) - before[1]) / seconds
            print(f"{name}: {woken:.1f} wake-ups a second, {busy:.2%} of a processor")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
