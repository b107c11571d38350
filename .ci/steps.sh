# The steps of .ci/run, as functions. To be sourced.
#
# timeout --foreground: it stays in the process group of its lane, which may be ended as a whole.

# The README's command: builds here, and runs the whole suite on the newest pyzmq.
readme() {
    timeout --foreground 900 python3 dev.py test -o faulthandler_timeout=60 "$(random_order)"
}

# An order, and random examples, that can be had again: the option is in the log.
random_order() {
    local option=--randomly-seed=$RANDOM
    echo "$option" >&2
    echo "$option"
}

# A virtual environment of python3, or of another Python: environment NAME [PYTHON]
environment() {
    [ -d "$work/$1" ] || "${2:-python3}" -m venv "$work/$1"
}

sdist() {
    environment build
    "$work/build/bin/pip" install build
    "$work/build/bin/python" -m build --sdist --outdir "$work/dist" . > /dev/null
    mkdir "$work/outside"
    tar xf "$work"/dist/*.tar.gz --strip-components 1 --directory "$work/outside"
    rm -r "$work/outside/zmqstream"  # tests there can only import what is installed
}

# The wheel of python3: of the sdist, what it has and needs, equal when built again, and working.
wheel() {
    for folder in dist again; do
        "$work/build/bin/pip" wheel --no-deps --no-cache-dir --wheel-dir "$work/$folder" \
            "$work"/dist/*.tar.gz
    done
    cmp "$work"/dist/*.whl "$work"/again/*.whl
    python3 .ci/contents.py "$work"/dist/*.tar.gz "$work"/dist/*.whl
    python3 .ci/wheels.py "$work"/dist/*.whl
    environment wheel
    "$work/wheel/bin/pip" install "$work"/dist/*.whl
    cp .ci/smoke.py "$work/smoke.py"
    cd "$work"
    for poller in epoll selectors; do ZMQSTREAM_POLLER=$poller wheel/bin/python -W error smoke.py; done
}

# Other Pythons installed beside this one, or to be called by name, by their minor version.
other_pythons() {
    local minor
    for minor in 10 11 12 13 14; do
        [ -z "$(python_3 "$minor")" ] || echo "$minor"
    done
}

python_3() {
    python3 - "$1" <<'PYTHON'
import shutil
import sys
from pathlib import Path

minor = int(sys.argv[1])
if minor != sys.version_info.minor:
    beside = sorted(Path(sys.base_prefix).resolve().parent.glob(f"*/bin/python3.{minor}"))
    print(beside[-1] if beside else shutil.which(f"python3.{minor}") or "")
PYTHON
}

# The oldest of them with the oldest pyzmq; 3.12 with the counters that the tests balance.
suite() {
    [ "$1" != 12 ] || export ZMQSTREAM_COUNTERS=1
    environment "3.$1" "$(python_3 "$1")"
    local pyzmq=pyzmq
    [ "$1" != 10 ] || pyzmq=pyzmq==27.0.0
    "$work/3.$1/bin/pip" install "$(echo "$work"/dist/*.tar.gz)[test]" "$pyzmq"
    cd "$work/outside"
    timeout --foreground 900 "$work/3.$1/bin/pytest" -q -o faulthandler_timeout=60 -p no:cacheprovider \
        "$(random_order)" -n 2 --dist worksteal tests
}

# CPython's tests of asyncio, where streams are busy on each loop.
asyncio_busy() {
    "$ZMQSTREAM_VENV/bin/python" tools/asyncio_suite.py --poller selectors --streams busy
}

lint() {
    environment lint
    "$work/lint/bin/pip" install '.[lint,test]'
    PATH=$work/lint/bin:$PATH
    ruff check .
    ruff format --check .
    cython-lint zmqstream
    codespell
    python .ci/tree.py
    towncrier build --draft --version next > /dev/null
    if command -v shellcheck > /dev/null; then shellcheck .ci/run .ci/*.sh; fi
}

# The package, its stubs, and what type checkers say about right and wrong uses of it.
types() {
    PATH=$work/lint/bin:$PATH
    mypy
    mypy tests/typing
    pyright --pythonpath "$work/lint/bin/python"
    local allowed=$PWD/tests/typing/stubtest-allowlist.txt
    cd "$work"
    python -m mypy.stubtest zmqstream._core --allowlist "$allowed"
}

# Every page, without a warning. The suite runs the blocks of code in them.
docs() {
    environment docs
    "$work/docs/bin/pip" install "$(echo "$work"/dist/*.whl)[docs]"
    "$work/docs/bin/sphinx-build" -q -W -n docs "$work/html"
}

# The guides, with the programs that they are about, and their benchmarks.
guides() {
    environment programs
    "$work/programs/bin/pip" install "$(echo "$work"/dist/*.whl)[programs,test]"
    timeout --foreground 300 "$work/programs/bin/pytest" -q -o faulthandler_timeout=100 \
        tests/docs/test_guides.py
    for bench in ipyparallel_tasks kernel_output; do
        timeout --foreground 300 "$work/programs/bin/python" "bench/programs/$bench.py" --quick
    done
}

# pyzmq's own tests of ZMQStream, with ours in its place.
pyzmq() {
    timeout --foreground 900 python3 tools/suites/run.py pyzmq --runs 1 --no-stock --work "$work/suites" \
        --zmqstream "$(echo "$work"/dist/*.whl)" -- -k test_zmqstream \
        || { cat "$work"/suites/runs/*/log.txt; return 1; }
}

# Instruction counts of five works against a baseline, where that is of such a machine.
guard() {
    debian valgrind
    "$ZMQSTREAM_VENV/bin/python" bench/guard.py
}

# Debian's package of a program, if it is not there: debian PROGRAM [PACKAGE]. What needs it says so
# itself, and leaves out what cannot be done.
debian() {
    command -v "$1" > /dev/null && return
    { apt-get -q update && apt-get -q install --yes "${2:-$1}"; } \
        || echo "There is no $1 here, and it cannot be installed: apt-get install ${2:-$1}"
}

# The benchmarks run; their figures are not judged here.
bench() {
    "$ZMQSTREAM_VENV/bin/pip" install "$(echo "$work"/dist/*.whl)[bench]"
    "$ZMQSTREAM_VENV/bin/pytest" -q bench --bench-quick
}
