"""What the benchmarks conclude from figures, and how they come to them; the figures themselves are
bench/'s."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from zmqstream._bench import climit, compiled, harness, machine, report
from zmqstream._bench.figures import curve, quantile, quartiles, scattered, spread
from zmqstream._bench.harness import (
    Comparison,
    Figure,
    Job,
    Measure,
    Result,
    Work,
    interleave,
    whole,
)
from zmqstream._bench.peers import BLOCKING, OURS, PEERS, PYOMQ, STREAM, C
from zmqstream._bench.works import WORKS


def a_work(*comparisons, unit="ns", **measures):
    named = {name.replace("_", " "): measure for name, measure in measures.items()}
    return Work("a work", "per message", "what it is", named, comparisons, unit=unit)


def a_result(*comparisons, unit="ns", missing=(), **rounds):
    """A result whose figures are these, round by round."""
    work = Work("a work", "per message", "what it is", {}, comparisons, unit=unit)
    for name in [*rounds, *missing]:
        work.measures[NAMES.get(name, name)] = Measure(whole(float))
    figures = {
        NAMES.get(name, name): [v if isinstance(v, Figure) else Figure(v) for v in values]
        for name, values in rounds.items()
    }
    return Result(work, figures, missing={NAMES.get(name, name): "why" for name in missing})


NAMES = {"ours": OURS, "stream": STREAM, "blocking": BLOCKING, "pyomq": PYOMQ, "c": C}


# -- statistics ------------------------------------------------------------------------------------


def test_quantiles():
    values = list(range(100, 0, -1))
    assert quantile(values, 0.5) == 51
    assert quantile(values, 0.99) == 100
    assert quantile([7], 0.999) == 7
    points = curve(range(1000))
    assert points[0] == 0
    assert points[50] == 500
    assert points[-1] == 999
    assert list(points) == sorted(points)


def test_spread_is_the_middle_half():
    assert quartiles([1, 2, 3, 4, 5]) == (2, 4)
    assert quartiles([3]) == (3, 3)
    assert spread([100, 100, 100, 100, 1000]) == 0  # one bad round of five
    assert spread([90, 100, 110]) == pytest.approx(0.1)
    assert spread([0, 0, 0]) == 0


def test_scattered_results():
    assert not scattered([90, 95, 100, 105, 110])
    assert scattered([70, 80, 100, 120, 140])


# -- rounds ----------------------------------------------------------------------------------------


def test_implementations_take_turns():
    trail = []

    def doing(name):
        return lambda n: trail.append((name, n)) or 1.0

    steps = []
    work = a_work(
        a=Measure(whole(doing("a")), 100),
        b=Measure(whole(doing("b")), 50),
        c=Measure(whole(doing("c")), 20),
    )
    result = interleave(work, 3, progress=steps.append)
    warm_up, rounds = trail[:3], trail[3:]
    assert warm_up == [("a", 10), ("b", 5), ("c", 2)]
    assert rounds == [("a", 100), ("b", 50), ("c", 20)] * 3
    assert steps == ["a", "b", "c"] * 4
    assert {name: len(figures) for name, figures in result.figures.items()} == dict.fromkeys(
        "abc", 3
    )


def test_quick_rounds_are_shorter():
    done = []
    work = a_work(a=Measure(whole(lambda n: done.append(n) or 1.0), 100))
    result = interleave(work, 2, quick=True)
    assert done[1:] == [10, 10]
    assert result.quick
    assert "a look only" in report.tables([result])


def test_how_often_comes_from_the_warm_up():
    """A fake work of 1,000 ns each is done for SECONDS, and never more often than it may be."""
    done = []
    work = a_work(
        a=Measure(whole(lambda n: done.append(n) or 1000.0)),
        b=Measure(whole(lambda n: 1000.0), most=77),
    )
    result = interleave(work, 1)
    assert result.n == {"a": int(harness.SECONDS * 1e6), "b": 77}
    assert done[-1] == result.n["a"]
    assert result.n["a"] > done[0]


def test_only_the_job_is_timed(monkeypatch):
    """A job of 5 ns each, and 100 ns before and after it."""
    clock = 0
    monkeypatch.setattr(harness, "perf_counter_ns", lambda: clock)

    def takes(ns):
        nonlocal clock
        clock += ns

    @contextlib.contextmanager
    def prepare(n):
        takes(100)
        yield Job(lambda: takes(5 * n), lambda each: takes(100) or Figure(each, {"n": n}))
        takes(100)

    result = interleave(a_work(a=Measure(prepare, 10)), 2)
    assert result.values("a") == [5, 5]
    assert clock == 300 + 5 + 2 * (300 + 50)


def test_what_cannot_be_prepared_at_once_is_done_in_parts():
    parts = []

    @contextlib.contextmanager
    def prepare(n):
        yield Job(lambda: parts.append(n), lambda each: Figure(1.0))

    interleave(a_work(a=Measure(prepare, 25, part=10)), 1)
    assert parts == [2, 10, 10, 5]


def test_a_peer_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr(type(PEERS[PYOMQ]), "missing", lambda self: "not installed")
    work = a_work(Comparison("speed", PYOMQ), zmqstream=Measure(whole(lambda n: 1.0), 1))
    work.measures[PYOMQ] = Measure(whole(lambda n: pytest.fail("was run")), 1)
    result = interleave(work, 1)
    assert result.missing == {PYOMQ: "not installed"}
    assert "missing: not installed" in report.tables([result])
    assert report.compare(result, work.comparisons[0])["remark"] == f"no figures of {PYOMQ}"


def test_a_peer_that_fails_is_left_out():
    def fails(n):
        raise ValueError("no such thing")

    work = a_work(
        zmqstream=Measure(whole(lambda n: 1.0), 1), pyzmq_blocking=Measure(whole(fails), 1)
    )
    result = interleave(work, 2)
    assert result.missing == {BLOCKING: "failed: no such thing"}
    assert len(result.figures[OURS]) == 2


@pytest.mark.parametrize("name", [OURS, C, f"{OURS} on uvloop"])
def test_ours_and_the_limit_must_work(name):
    def fails(n):
        raise ValueError("no such thing")

    work = a_work()
    work.measures[name] = Measure(whole(fails), 1)
    if name == C and PEERS[C].missing():
        pytest.skip("no compiler")
    with pytest.raises(ValueError, match="no such thing"):
        interleave(work, 1)


def test_a_peer_that_hangs_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(harness, "HUNG", {})
    monkeypatch.setattr(harness, "PEER_TIME_LIMIT", 0.05)
    runs = []

    def hangs(n):
        runs.append(n)
        while True:
            pass

    work = a_work(hangs=Measure(whole(hangs), 1))
    assert "not finished after 0.05 seconds" in interleave(work, 1).missing["hangs"]
    assert "did not finish a work" in interleave(work, 1).missing["hangs"]
    assert len(runs) == 1
    harness.HUNG.clear()
    missing = interleave(work, 1, peer_limit=0.06).missing["hangs"]
    assert "not finished after 0.06 seconds" in missing


# -- conclusions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), [("speed", 10), ("time", 0.1)])
def test_ratios(kind, value):
    result = a_result(Comparison(kind, STREAM), ours=[100] * 5, stream=[1000] * 5)
    assert report.compare(result, result.work.comparisons[0])["value"] == pytest.approx(value)
    shown = report.tables([result])
    assert "NOT MET" not in shown
    assert "required" not in shown


def test_a_ratio_of_what_is_beside_the_figure():
    result = a_result(
        ours=[Figure(1, {"p99": 30.0})] * 5,
        stream=[Figure(1, {"p99": 20.0})] * 5,
    )
    assert report.compare(result, Comparison("time", STREAM, of="p99"))["value"] == 1.5


def test_no_ratio_of_scattered_rounds():
    """What both have, a slow machine, leaves the rounds' ratios together; what one has does not."""
    together = a_result(ours=[10, 20, 40, 80, 160], stream=[100, 200, 400, 800, 1600])
    assert report.compare(together, Comparison("speed", STREAM))["value"] == 10
    one_busy = a_result(ours=[10, 10, 90, 90, 90], stream=[100, 100, 900, 900, 200])
    assert report.compare(one_busy, Comparison("speed", STREAM))["value"] == 10  # medians: 2.2
    apart = a_result(ours=[10, 20, 40, 80, 160], stream=[100] * 5)
    row = report.compare(apart, Comparison("speed", STREAM))
    assert row["value"] is None
    assert row["remark"].startswith("scattered")
    assert "scattered" in report.tables(
        [a_result(Comparison("speed", STREAM), ours=[1, 9], stream=[9, 1])]
    )


def test_who_is_faster_is_shown():
    result = a_result(
        c=[10] * 5, ours=[100] * 5, stream=[500] * 5, blocking=[50] * 5, pyomq=[97] * 5
    )
    assert report.faster(result) == [(BLOCKING, 2.0)]  # pyomq is as fast; C is no peer
    assert f"a work: {BLOCKING} is 2.00 x as fast" in report.tables([result])


def test_a_sender_that_never_waits_is_named():
    result = a_result(
        ours=[Figure(1, {"sender waited %": 2.0})] * 5,
        stream=[Figure(1, {"sender waited %": 60.0})] * 5,
    )
    assert report.remarks(result, OURS) == ["the sender was the limit"]
    assert report.remarks(result, STREAM) == []


def test_every_ratio_is_of_what_is_measured():
    names = [work.name for work in WORKS]
    assert len(set(names)) == len(names)
    for work in WORKS:
        for comparison in work.comparisons:
            assert comparison.subject in work.measures, work.name
            assert comparison.against in work.measures, work.name
        for name in work.measures:
            assert name.partition(",")[0] in PEERS or name.startswith(OURS), (work.name, name)


# -- the file --------------------------------------------------------------------------------------

WORK_KEYS = {
    "name",
    "figure",
    "unit",
    "what",
    "quick",
    "load",
    "disturbance",
    "curve",
    "plot",
    "implementations",
    "missing",
    "faster",
    "comparisons",
}


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "figures.json"
    comparison = Comparison("speed", STREAM)
    result = a_result(
        comparison, ours=[1.0, 2.0, 3.0], stream=[10.0, 20.0, 30.0], missing=["pyomq"]
    )
    report.write_json(path, [result], load=0.5)
    document = report.read_json(path)
    (work,) = document["works"]
    assert work.keys() == WORK_KEYS
    assert work["implementations"][OURS]["rounds"] == [1.0, 2.0, 3.0]
    assert work["missing"] == {PYOMQ: "why"}
    assert work["comparisons"][0]["value"] == 10
    assert document["environment"].keys() >= {
        "platform",
        "processor",
        "processors",
        "python",
        "build",
        "libzmq",
        "revision",
        "packages",
    }
    assert document["environment"]["packages"]["pyzmq"] == zmq.pyzmq_version()


def test_adding_keeps_other_works_of_the_same_machine(tmp_path, monkeypatch):
    path = tmp_path / "figures.json"
    first, second = a_result(ours=[1.0]), a_result(ours=[2.0])
    object.__setattr__(second.work, "name", "another")
    report.add_json(path, [first])
    report.add_json(path, [second])
    report.add_json(path, [a_result(ours=[3.0])])
    found = {
        work["name"]: work["implementations"][OURS]["median"]
        for work in report.read_json(path)["works"]
    }
    assert found == {"a work": 3.0, "another": 2.0}
    elsewhere = {**machine.environment(), "python": "2.7"}
    monkeypatch.setattr(report, "environment", lambda: elsewhere)
    with pytest.raises(report.Unreadable, match="measured elsewhere: python differ"):
        report.add_json(path, [first])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no figures"),
        ('{"works": [], "schema": 99}', "schema 99, where 2"),
        (None, "No such file"),
    ],
)
def test_other_files_are_refused(tmp_path, text, says):
    path = tmp_path / "figures.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(report.Unreadable, match=says):
        report.read_json(path)


# -- without a compiler ----------------------------------------------------------------------------


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    with pytest.raises(compiled.NotCompiled, match="no C compiler"):
        compiled.compiler()


def test_a_source_that_does_not_compile(tmp_path):
    try:
        compiled.compiler()
    except compiled.NotCompiled as error:
        pytest.skip(str(error))
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(compiled.NotCompiled, match=r"broken\.c does not compile"):
        compiled.compile_at(source)


@pytest.mark.parametrize("c", [True, False], ids=["in C", "in Python"])
def test_what_drives_a_measurement(monkeypatch, c):
    if not c:
        monkeypatch.setattr(climit, "missing", lambda: "no compiler")
    elif climit.missing():
        pytest.skip(climit.missing())
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind("inproc://driven")
        senders = [context.socket(zmq.PUSH) for _ in range(2)]
        for sender in senders:
            sender.connect("inproc://driven")
        took, waited = climit.flood(senders, 5, 2, b"x")
        got = sorted(len(pull.recv_multipart(zmq.DONTWAIT)) for _ in range(5))
        assert got == [2, 2, 2, 3, 3]  # the last of each sender has a frame more
        assert took > 0
        assert waited == 0
        climit.flood([senders[0]], 2, 1, b"x")
        climit.drain(pull, 2)
        for sender in senders:
            sender.close()


def test_other_processes_run_the_same_zmqstream(tmp_path):
    """Not one that is in the user's current folder, as a checkout that was not built."""
    (tmp_path / "zmqstream").mkdir()
    (tmp_path / "zmqstream" / "__init__.py").write_text("raise ImportError('not this one')")
    script = tmp_path / "elsewhere" / "script.py"  # its folder is on the path, not the current one
    script.parent.mkdir()
    script.write_text(
        "from zmqstream._bench.sockets import Child\n"
        "with Child('serve', 'pyzmq blocking', 'dealer', 'tcp://127.0.0.1:*') as child:\n"
        "    print(child.hear())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("tcp://127.0.0.1:"), done.stderr


# -- the command -----------------------------------------------------------------------------------


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "zmqstream", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list():
    done = bench("--list")
    assert done.returncode == 0, done.stderr
    for work in WORKS:
        assert f"{work.name}\n---" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "no such work; the works are: receive 1 x 16 B"),
        (["--rounds", "2"], "at least 5 rounds"),
    ],
)
def test_bad_arguments(arguments, says):
    done = bench(*arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_quick_run(tmp_path):
    path = tmp_path / "figures.json"
    done = bench("--quick", "--json", str(path), "flush(limit=100)")
    assert done.returncode == 0, done.stderr
    assert "flush(limit=100)" in done.stdout
    assert f"All figures are in {path}" in done.stdout
    (work,) = report.read_json(path)["works"]
    assert len(work["implementations"][OURS]["rounds"]) == 2


# -- the guard of instruction counts ---------------------------------------------------------------


def script(name):
    path = Path(__file__).parents[2] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)  # dataclasses look there
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def guard():
    return script("guard")


def a_dump(n, total):
    return f"version: 1\ndesc: Trigger: Client Request: {n}\n\nsummary: {total}\n\n"


def test_counts_leave_out_what_is_constant(guard):
    n = guard.N
    dumps = [
        "version: 1\ndesc: Trigger: Program termination\n\ntotals: 999\n",
        a_dump(n // 10, 12),
        a_dump(n, 5000 + 30 * n),
        a_dump(n, 7000 + 30 * n),  # the least of the repeats counts
        a_dump(2 * n, 5000 + 60 * n),
    ]
    assert guard.a_message(dumps) == 30.0
    with pytest.raises(guard.CannotCount, match="no dump"):
        guard.a_message(dumps[:-1])


@pytest.mark.parametrize(
    ("counted", "well", "says"),
    [
        ({"a": 101.9}, True, "+1.9%"),
        ({"a": 102.1}, False, "MORE THAN 2%"),
        ({"a": 97.9}, True, "renew the baseline"),
        ({}, False, "NOT COUNTED"),
        ({"a": 100.0, "b": 1.0}, False, "NOT IN THE BASELINE"),
    ],
)
def test_counts_against_the_baseline(guard, counted, well, says):
    lines, verdict = guard.compare(counted, {"a": 100.0})
    assert verdict is well
    assert says in "\n".join(lines)


@pytest.mark.parametrize("strict", [False, True])
def test_an_unknown_platform_is_loud(guard, strict, monkeypatch, tmp_path, capsys):
    baseline = tmp_path / "guard.json"
    baseline.write_text(json.dumps({"pdp11, CPython 1.5": {}}))
    monkeypatch.setattr(guard, "BASELINE", baseline)
    monkeypatch.setattr(sys, "argv", ["guard.py", *["--strict"] * strict])
    with pytest.raises(SystemExit) as left:
        guard.main()
    assert left.value.code == strict
    said = capsys.readouterr().out
    assert "NOT GUARDED HERE: no baseline for" in said
    assert "pdp11, CPython 1.5" in said


def test_no_valgrind_is_loud(guard, monkeypatch, capsys):
    monkeypatch.setattr(guard.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["guard.py", "--strict", "--renew"])
    with pytest.raises(SystemExit) as left:
        guard.main()
    assert left.value.code == 1
    assert "valgrind is not installed" in capsys.readouterr().out


# -- the project's bounds --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bounds():
    return script("bounds")


def test_every_bound_is_of_what_is_measured(bounds):
    works = {work.name: work for work in WORKS}
    for bound in bounds.BOUNDS:
        work = works[bound.work]
        assert bound.subject in work.measures, bound
        wanted = (bound.kind, bound.against, bound.subject, bound.of or "")
        kept = [(c.kind, c.against, c.subject, c.of) for c in work.comparisons]
        assert bound.kind == "limit" or wanted in kept, bound


@pytest.mark.parametrize(
    ("kind", "limit", "says", "well"),
    [
        ("speed", 9, "ok", True),
        ("speed", 11, "NOT MET", False),
        ("time", 0.2, "ok", True),
        ("time", 0.05, "NOT MET", False),
        ("limit", 100, "ok", True),
        ("limit", 99, "NOT MET", False),
    ],
)
def test_bounds(bounds, monkeypatch, kind, limit, says, well):
    pairs = [Comparison(kind, STREAM) for kind in ("speed", "time")]
    result = a_result(*pairs, ours=[100] * 5, stream=[1000] * 5)
    against = None if kind == "limit" else STREAM
    monkeypatch.setattr(bounds, "BOUNDS", [bounds.Bound("a work", kind, limit, against)])
    (line,), verdict = bounds.check(report.as_json([result]))
    assert line.startswith(says)
    assert verdict is well


def test_bounds_without_a_figure(bounds):
    lines, verdict = bounds.check({"works": []})
    assert verdict is True
    assert all(line.startswith("no figure") for line in lines)


# -- pytest bench ----------------------------------------------------------------------------------


def test_pytest_bench(tmp_path):
    """Rounds are pytest-benchmark's own, and runs can be compared."""
    pytest.importorskip("pytest_benchmark")
    root = Path(__file__).parents[2]
    # it would not measure in a worker of pytest-xdist's
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}

    def run(*options):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", str(root / "bench"), "--rootdir", str(root), "-q"]
            + ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
            + ["-k", "flush and 100 and not pyzmq", "--benchmark-max-time", "0"]
            + ["--benchmark-storage", str(tmp_path), *options],
            cwd=tmp_path,  # the zmqstream to be imported is the one that is tested here
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    first = run("--benchmark-compare", "--benchmark-autosave", "--benchmark-min-rounds", "3")
    assert "No benchmark files" in first  # it runs nevertheless
    (file,) = tmp_path.rglob("*.json")
    (found,) = json.loads(file.read_text())["benchmarks"]
    assert found["group"] == "flush(limit=100), 10,000 times"
    assert found["extra_info"]["times"] == 10_000
    assert found["stats"]["rounds"] == 3
    assert 0 < found["stats"]["min"] < found["stats"]["max"]
    each = found["extra_info"]["ns per message"]
    assert each == pytest.approx(found["stats"]["median"] / 10_000 * 1e9, abs=0.1)
    assert "(NOW)" in run("--benchmark-compare", "--benchmark-compare-fail", "median:99999%")
