"""What the benchmarks conclude from figures, and how they come to them; the figures themselves are
bench/'s."""

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
from zmqstream._bench.harness import Figure, Floor, Measure, Result, Work, interleave
from zmqstream._bench.peers import BLOCKING, OURS, PEERS, PYOMQ, STREAM, C
from zmqstream._bench.works import WORKS


def a_work(*floors, unit="ns", **measures):
    named = {name.replace("_", " "): measure for name, measure in measures.items()}
    return Work("a work", "per message", "what it is", named, floors, unit=unit)


def a_result(*floors, unit="ns", missing=(), **rounds):
    """A result whose figures are these, round by round."""
    work = Work("a work", "per message", "what it is", {}, floors, unit=unit)
    for name in [*rounds, *missing]:
        work.measures[NAMES.get(name, name)] = Measure(float)
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
    work = a_work(a=Measure(doing("a"), 100), b=Measure(doing("b"), 50), c=Measure(doing("c"), 20))
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
    work = a_work(a=Measure(lambda n: done.append(n) or 1.0, 100))
    result = interleave(work, 2, quick=True)
    assert done[1:] == [10, 10]
    assert result.quick
    assert "a look only" in report.tables([result])


def test_how_often_comes_from_the_warm_up():
    """A fake work of 1,000 ns each is done for SECONDS, and never more often than it may be."""
    done = []
    work = a_work(
        a=Measure(lambda n: done.append(n) or 1000.0), b=Measure(lambda n: 1000.0, most=77)
    )
    result = interleave(work, 1)
    assert result.n == {"a": int(harness.SECONDS * 1e6), "b": 77}
    assert done[-1] == result.n["a"]
    assert result.n["a"] > done[0]


def test_a_peer_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr(type(PEERS[PYOMQ]), "missing", lambda self: "not installed")
    work = a_work(Floor("speed", PYOMQ), zmqstream=Measure(lambda n: 1.0, 1))
    work.measures[PYOMQ] = Measure(lambda n: pytest.fail("was run"), 1)
    result = interleave(work, 1)
    assert result.missing == {PYOMQ: "not installed"}
    assert "missing: not installed" in report.tables([result])
    assert report.compare(result, work.floors[0])["remark"] == f"no figures of {PYOMQ}"


def test_a_peer_that_fails_is_left_out():
    def fails(n):
        raise ValueError("no such thing")

    work = a_work(zmqstream=Measure(lambda n: 1.0, 1), pyzmq_blocking=Measure(fails, 1))
    result = interleave(work, 2)
    assert result.missing == {BLOCKING: "failed: no such thing"}
    assert len(result.figures[OURS]) == 2


@pytest.mark.parametrize("name", [OURS, C, f"{OURS} on uvloop"])
def test_ours_and_the_limit_must_work(name):
    def fails(n):
        raise ValueError("no such thing")

    work = a_work()
    work.measures[name] = Measure(fails, 1)
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

    work = a_work(hangs=Measure(hangs, 1))
    assert "not finished after 0.05 seconds" in interleave(work, 1).missing["hangs"]
    assert "did not finish a work" in interleave(work, 1).missing["hangs"]
    assert len(runs) == 1


# -- conclusions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor", "value", "met"),
    [
        (Floor("speed", STREAM, 9), 10, True),
        (Floor("speed", STREAM, 11), 10, False),
        (Floor("time", STREAM, 0.2), 0.1, True),
        (Floor("time", STREAM, 0.05), 0.1, False),
        (Floor("limit", bound=100), 100, True),
        (Floor("limit", bound=99), 100, False),
        (Floor("speed", STREAM), 10, None),
    ],
)
def test_floors(floor, value, met):
    row = report.compare(a_result(ours=[100] * 5, stream=[1000] * 5), floor)
    assert (row["value"], row["met"]) == (pytest.approx(value), met)


def test_a_floor_of_what_is_beside_the_figure():
    result = a_result(
        ours=[Figure(1, {"p99": 30.0})] * 5,
        stream=[Figure(1, {"p99": 20.0})] * 5,
    )
    row = report.compare(result, Floor("time", STREAM, 1.4, of="p99"))
    assert (row["value"], row["met"]) == (1.5, False)


def test_no_ratio_of_scattered_rounds():
    """What both have, a slow machine, leaves the rounds' ratios together; what one has does not."""
    together = a_result(ours=[10, 20, 40, 80, 160], stream=[100, 200, 400, 800, 1600])
    assert report.compare(together, Floor("speed", STREAM, 5))["value"] == 10
    one_busy = a_result(ours=[10, 10, 90, 90, 90], stream=[100, 100, 900, 900, 200])
    assert report.compare(one_busy, Floor("speed", STREAM, 5))["value"] == 10  # medians: 2.2
    apart = a_result(ours=[10, 20, 40, 80, 160], stream=[100] * 5)
    row = report.compare(apart, Floor("speed", STREAM, 0.001))
    assert (row["value"], row["met"]) == (None, None)
    assert row["remark"].startswith("scattered")
    assert "scattered" in report.tables(
        [a_result(Floor("speed", STREAM), ours=[1, 9], stream=[9, 1])]
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


def test_every_floor_is_of_what_is_measured():
    names = [work.name for work in WORKS]
    assert len(set(names)) == len(names)
    for work in WORKS:
        for floor in work.floors:
            assert floor.subject in work.measures, work.name
            assert not floor.against or floor.against in work.measures, work.name
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
    floor = Floor("speed", STREAM, 9)
    result = a_result(floor, ours=[1.0, 2.0, 3.0], stream=[10.0, 20.0, 30.0], missing=["pyomq"])
    report.write_json(path, [result], load=0.5)
    document = report.read_json(path)
    (work,) = document["works"]
    assert work.keys() == WORK_KEYS
    assert work["implementations"][OURS]["rounds"] == [1.0, 2.0, 3.0]
    assert work["missing"] == {PYOMQ: "why"}
    assert work["comparisons"][0]["met"] is True
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
        ('{"works": [], "schema": 99}', "schema 99, where 1"),
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


@pytest.fixture(scope="module")
def guard():
    path = Path(__file__).parents[2] / "bench" / "guard.py"
    spec = importlib.util.spec_from_file_location("guard", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
