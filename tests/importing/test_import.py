"""What is imported, and what is said where pyzmq does not fit."""

import graphlib
import importlib.util
import re
import sys
import textwrap
from pathlib import Path

import pytest
import zmq

import zmqstream
from support.children import run_script
from zmqstream import _core, _pyzmq

TIMEOUT = 20  # seconds
CYTHON = "zmq.backend.cython._zmq"


# -- a pyzmq that fits, or does not ----------------------------------------------------------------


@pytest.mark.parametrize("version", ["27.0.0", "27.3.0", "28.1.0.dev0", "100.0"])
def test_a_pyzmq_that_fits(version):
    _pyzmq.check(version, CYTHON)


@pytest.mark.parametrize("version", ["26.4.0", "25.1.2", "9.0", "unknown"])
def test_a_pyzmq_that_is_too_old(version):
    with pytest.raises(ImportError) as info:
        _pyzmq.check(version, CYTHON)
    message = str(info.value)
    assert f"found pyzmq {version} in {zmq.__file__}" in message
    assert "needs pyzmq 27 or newer" in message
    assert "pip install --upgrade pyzmq" in message


@pytest.mark.parametrize(
    ("module", "name"),
    [("zmq.backend.cffi.message", "zmq.backend.cffi"), ("elsewhere", "elsewhere")],
)
def test_another_backend(module, name):
    with pytest.raises(ImportError) as info:
        _pyzmq.check("27.1.0", module)
    message = str(info.value)
    assert f"found pyzmq 27.1.0 running on {name}" in message
    assert "needs pyzmq's Cython backend" in message
    assert "unset PYZMQ_BACKEND" in message
    assert "pip install" in message


# A package zmq in another place: so much of it that zmqstream can find out what it is.
FAKE = """
    import types

    __version__ = {version!r}

    def pyzmq_version():
        return __version__

    class Frame:
        pass

    Frame.__module__ = {module!r}
    backend = types.SimpleNamespace(Frame=Frame)
"""


@pytest.mark.parametrize(
    ("version", "module", "said"),
    [
        ("26.4.0", CYTHON, "needs pyzmq 27 or newer and found pyzmq 26.4.0"),
        ("27.1.0", "zmq.backend.cffi.message", "needs pyzmq's Cython backend"),
    ],
)
def test_importing_with_a_pyzmq_that_does_not_fit(tmp_path, version, module, said):
    """Nothing but the ImportError: the core, which would fail in its own way, is not tried."""
    (tmp_path / "zmq").mkdir()
    fake = textwrap.dedent(FAKE).format(version=version, module=module)
    (tmp_path / "zmq" / "__init__.py").write_text(fake)
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        try:
            import zmqstream
        except ImportError as error:
            print(error)
        assert "zmqstream._core" not in sys.modules
    """
    assert said in run_script(program, str(tmp_path))


def test_importing_with_another_backend():
    """PYZMQ_BACKEND names any module with the names of a backend."""
    program = """
        import importlib, os, sys, types
        import zmq.backend

        os.environ["PYZMQ_BACKEND"] = "other_backend"
        other = types.ModuleType("other_backend")
        for name in [*zmq.backend.__all__, "monitored_queue"]:
            setattr(other, name, getattr(zmq.backend, name))
        other.Frame = type("Frame", (), {"__module__": "other_backend.message"})
        sys.modules["other_backend"] = other
        importlib.reload(zmq.backend)
        assert zmq.backend.Frame is other.Frame
        try:
            import zmqstream
        except ImportError as error:
            print(error)
    """
    assert "running on other_backend: unset PYZMQ_BACKEND" in run_script(program)


def test_a_core_that_was_built_for_another_pyzmq():
    """Cython's own check of sizes says nothing that helps; ours says what to do."""
    program = """
        import sys
        from importlib.abc import MetaPathFinder

        class Finder(MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "zmqstream._core":
                    raise ValueError("zmq.backend.cython._zmq.Socket size changed")

        sys.meta_path.insert(0, Finder())
        try:
            import zmqstream
        except ImportError as error:
            print(error)
            assert isinstance(error.__cause__, ValueError)
    """
    said = run_script(program)
    assert "was not built for the installed pyzmq" in said
    assert "Socket size changed" in said
    assert "pip install --force-reinstall" in said


# -- which module imports which -------------------------------------------------------------------

PACKAGE = Path(zmqstream.__file__).parent
IMPORT = re.compile(r"^ *(?:from (\S+) c?import (\([^)]*|.*)|c?import (\S+))", re.MULTILINE)


def module_of(path):
    """The name of the module that a source file is, or is a part of."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    if parts[1] == "core":  # fragments of the core
        return "zmqstream._core"
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_cycle():
    """Imports in functions count, and so do those that are only for types."""
    suffixes = {".py", ".pyi", ".pyx", ".pxd"}
    sources = [path for path in PACKAGE.rglob("*.p*") if path.suffix in suffixes]
    modules = {module_of(path) for path in sources}
    assert {"zmqstream._core", "zmqstream.ioloop", "zmqstream.ioloop.loop"} <= modules
    imports = {name: set() for name in modules}
    for path in sources:
        module = module_of(path)
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", path.read_text(encoding="utf-8"))
        for origin, names, plain in IMPORT.findall(code):
            imported = importlib.util.resolve_name(origin or plain, package)
            for name in names.strip("(").split(","):
                submodule = f"{imported}.{''.join(name.split()[:1])}"  # without "as other"
                imports[module].add(submodule if submodule in modules else imported)
        imports[module] &= modules
        imports[module].discard(module)  # the core's parts
    graphlib.TopologicalSorter(imports).prepare()  # CycleError


# -- what is there ---------------------------------------------------------------------------------


def test_what_is_not_imported():
    """pyzmq and the standard library are enough; a loop's library is the program's choice."""
    program = """
        import sys, zmqstream, zmqstream.ioloop
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    modules = run_script(program).split()
    assert "zmq" in modules
    assert not {"tornado", "uvloop", "gevent", "numpy", "pytest"}.intersection(modules)


def test_asyncio_is_imported_when_it_is_needed():
    """It takes longer to import than pyzmq, and than all of ours."""
    program = """
        import sys, zmqstream
        assert not {"asyncio", "ssl", "multiprocessing"}.intersection(sys.modules)
        assert {"EventLoop", "ZMQStream", "ioloop"} <= set(dir(zmqstream))
        assert zmqstream.ioloop.IOLoop is zmqstream.IOLoop
        assert "asyncio" in sys.modules
        try:
            zmqstream.nonsense
        except AttributeError as error:
            print(error)
    """
    assert run_script(program) == "module 'zmqstream' has no attribute 'nonsense'\n"


def test_importing_makes_nothing():
    """No loop, no context, no thread: those are the program's to make."""
    program = """
        import asyncio, gc, threading, zmq, zmqstream
        loops = [o for o in gc.get_objects() if isinstance(o, asyncio.AbstractEventLoop)]
        assert loops == [], loops
        assert zmq.Context._instance is None
        assert threading.active_count() == 1
        assert not zmqstream.IOLoop.initialized()
    """
    run_script(program)


def test_the_public_names():
    assert set(zmqstream.__all__) >= {"EventLoop", "IOLoop", "ZMQStream", "new_event_loop", "run"}
    for name in zmqstream.__all__:
        assert getattr(zmqstream, name).__doc__, name
    namespace = {}
    exec("from zmqstream import *", namespace)
    assert set(zmqstream.__all__) <= set(namespace)
    assert zmqstream.__version__.count(".") >= 2


def test_libzmq_is_pyzmqs():
    assert _core.libzmq_version == zmq.zmq_version_info()


def test_the_addresses_of_libzmqs_functions():
    functions = _core.libzmq_functions()
    assert {"msg_recv", "msg_send", "msg_init", "msg_close", "getsockopt"} <= set(functions)
    assert all(isinstance(address, int) and address for address in functions.values())
    assert len(set(functions.values())) == len(functions)


def test_one_libzmq_in_the_process():
    """A second one would not know the first one's sockets."""
    if sys.platform != "linux":
        pytest.skip("/proc/self/maps is Linux's")
    program = """
        import zmqstream
        with open("/proc/self/maps") as maps:
            files = {line.split()[-1] for line in maps if ".so" in line}
        print(*(f for f in files if "libzmq" in f.rpartition("/")[2]), sep="\\n")
    """
    assert len(run_script(program).split()) <= 1


def test_names_that_come_later_are_told_of():
    out = run_script("import zmqstream; print(set(zmqstream.__all__) - set(dir(zmqstream)))")
    assert out.split() == ["set()"]
