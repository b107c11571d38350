"""Measures tasks through ipyparallel's Python scheduler, with a cluster of each class in turn.

    python bench/programs/ipyparallel_tasks.py [--quick] [--rounds N] [--json PATH] [--profile]

shared.py explains the options.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
from shared import (
    HERE,
    OURS,
    PYTHON,
    STREAM,
    Accounts,
    Comparison,
    Figure,
    Measure,
    Work,
    main,
    processor_seconds,
    whole,
)

ENGINES = 2
SCHEME = "leastload"  # the default; "pure" would be a C proxy


def nothing() -> None:
    """The task."""


def stream_modules() -> list[str]:
    """The modules of the stream classes that the calling process uses."""
    import gc

    return sorted({type(o).__module__ for o in gc.get_objects() if type(o).__name__ == "ZMQStream"})


# -- the process of the client, which starts the cluster -------------------------------------------


def client(tasks: int, implementation: str, with_profile: bool) -> None:
    import ipyparallel

    with ExitStack() as stack:
        if with_profile:
            accounts = stack.enter_context(closing(Accounts()))
            os.environ.update(accounts.environment())
        cluster = ipyparallel.Cluster(
            n=ENGINES,
            controller_args=[
                f"--TaskScheduler.scheme_name={SCHEME}",
                "--HeartMonitor.period=1000",  # milliseconds: an engine registers after two
            ],
            log_level=30,
        )
        connected = stack.enter_context(cluster)
        view = connected.load_balanced_view()
        connected.wait([view.apply_async(nothing) for _ in range(10 * ENGINES)], timeout=60)
        check(connected, cluster, implementation)
        roles = {
            "scheduler": [scheduler(connected)],
            "engines": [psutil.Process(pid) for pid in connected[:].apply_sync(os.getpid)],
            "hub": [psutil.Process(cluster.controller.pid)],
            "client": [psutil.Process()],
        }
        profile = {}
        with ExitStack() as measured:
            if with_profile:
                for name in ("scheduler", "engines", "hub"):
                    profile[name] = measured.enter_context(accounts.during(*roles[name]))
            before = {name: processor_seconds(*processes) for name, processes in roles.items()}
            start = time.perf_counter()
            results = [view.apply_async(nothing) for _ in range(tasks)]
            finished = connected.wait(results, timeout=100)
            seconds = time.perf_counter() - start
            used = {name: processor_seconds(*roles[name]) - before[name] for name in roles}
        assert finished
        assert all(result.successful() for result in results)
    print(json.dumps({"seconds": seconds, "processors": used, "profile": profile}))


def scheduler(connected) -> psutil.Process:
    """The process that listens at the port to which tasks are sent."""
    port = int(connected._task_socket.last_endpoint.rpartition(b":")[2])
    for process in psutil.Process().children(recursive=True):
        if any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in process.net_connections("tcp")
        ):
            return process
    raise RuntimeError(f"no process listens on port {port}")


def check(connected, cluster, implementation: str) -> None:
    """Check that the scheduler is in Python and uses the class to measure."""
    log = Path(cluster.controller.output_file).read_text()
    assert f"using Python {SCHEME} Task scheduler" in log, log
    expected = ["zmqstream.stream" if implementation == OURS else "zmq.eventloop.zmqstream"]
    found = [stream_modules(), *connected[:].apply_sync(stream_modules)]
    assert all(modules == expected for modules in found), found
    for process in psutil.Process().children(recursive=True):
        loaded = any("zmqstream" in m.path and "_core" in m.path for m in process.memory_maps())
        assert loaded == (implementation == OURS), process.cmdline()


# -- the process that measures ---------------------------------------------------------------------


def run_client(tasks: int, implementation: str, *options: str) -> dict:
    """Make a client do `tasks`, and end all processes that it has started in any case."""
    process = subprocess.Popen(
        [*PYTHON[implementation], __file__, "--client", str(tasks), implementation, *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE,  # not the checkout, because -m imports from the current folder first
    )
    try:
        output = process.communicate()[0]
    finally:
        end(process)
    if process.returncode:
        sys.exit(f"the client failed: {process.returncode}")
    return json.loads(output.splitlines()[-1])


def end(process: subprocess.Popen) -> None:
    if process.poll() is not None:
        return
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)  # it stops its cluster
    _, left = psutil.wait_procs([psutil.Process(process.pid), *started], timeout=10)
    for one in left:
        one.kill()


def measure(implementation: str) -> Measure:
    def run(tasks: int) -> Figure:
        told = run_client(tasks, implementation)
        more = {role: seconds * 1e9 / tasks for role, seconds in told["processors"].items()}
        return Figure(told["seconds"] * 1e9 / tasks, more)

    return Measure(whole(run), 1_000)


def profile(tasks: int) -> dict[str, dict[str, float]]:
    return run_client(tasks, STREAM, "--profile")["profile"]


WORK = Work(
    name="ipyparallel tasks",
    figure="per task",
    what=(
        "Empty tasks through a load-balanced view, from the first apply_async() to the last "
        f"result: a client, a hub, the task scheduler in Python ({SCHEME}, hwm 1: the defaults) "
        f"and {ENGINES} engines, all on this machine and with the same class, restarted for each "
        "measurement. Beside the time: the processor time of each, that of all engines together."
    ),
    measures={name: measure(name) for name in (OURS, STREAM)},
    comparisons=(Comparison("speed", STREAM),),
)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(int(sys.argv[2]), sys.argv[3], "--profile" in sys.argv)
    else:
        main(WORK, profile)
