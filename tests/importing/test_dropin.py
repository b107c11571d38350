"""install(), uninstall() and `python -m zmqstream run`, each in a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest import mock

import pytest
import zmq

import zmqstream
from zmqstream._cli.run import STARTUP

TIMEOUT = 30  # seconds

THEIRS = "zmq.eventloop.zmqstream.ZMQStream"
OURS = "zmqstream.stream.ZMQStream"

# what a program sees of the class that it gets
PROGRAM = """
import sys
from zmq.eventloop.zmqstream import ZMQStream
print(ZMQStream.__module__ + "." + ZMQStream.__qualname__, *sys.argv[1:])
"""


def python(*args, check=True, flags=("-W", "error"), **kwargs):
    done = subprocess.run(
        [sys.executable, *flags, *map(str, args)],
        timeout=TIMEOUT, capture_output=True, text=True, check=False, **kwargs,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


def script(text, **kwargs):
    return python("-c", textwrap.dedent(text), **kwargs).stdout.splitlines()


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


# -- install() and uninstall() ---------------------------------------------------------------------


@pytest.mark.parametrize("first", ["", "import zmq.eventloop", "import zmq.eventloop.zmqstream"])
def test_install(first):
    out = script(f"""
        {first}
        import zmqstream
        zmqstream.install()
        zmqstream.install()
        import zmq.eventloop
        from zmq.eventloop import zmqstream as module
        from zmq.eventloop.zmqstream import ZMQStream
        assert ZMQStream is module.ZMQStream is zmq.eventloop.ZMQStream is zmqstream.ZMQStream
        assert module.__file__ == module.__spec__.origin
        assert type(module.__spec__.loader) is type(zmq.__spec__.loader) is type(module.__loader__)
        zmqstream.uninstall()
        zmqstream.uninstall()
        assert not hasattr(zmq.eventloop, "ZMQStream")
        print(f"{{module.ZMQStream.__module__}}.{{module.ZMQStream.__qualname__}}")
    """)
    assert out == [THEIRS]


def test_uninstall_before_the_import():
    out = script("""
        import zmqstream
        zmqstream.install()
        zmqstream.uninstall()
        from zmq.eventloop.zmqstream import ZMQStream
        import zmq.eventloop
        print(ZMQStream.__module__, hasattr(zmq.eventloop, "ZMQStream"))
    """)
    assert out == ["zmq.eventloop.zmqstream False"]


def test_installing_imports_nothing():
    out = script("""
        import sys, zmqstream
        zmqstream.install()
        print(*{"tornado", "asyncio", "zmq.eventloop"}.intersection(sys.modules))
    """)
    assert out == [""]


def test_a_program_without_a_change():
    """pyzmq's example, on Tornado's loop, with install() before it."""
    out = script("""
        import zmqstream
        zmqstream.install()

        import asyncio, zmq
        from zmq.eventloop import zmqstream as their_module

        async def main():
            done = asyncio.Event()
            context = zmq.Context()
            rep, req = context.socket(zmq.REP), context.socket(zmq.REQ)
            port = rep.bind_to_random_port("tcp://127.0.0.1")
            req.connect(f"tcp://127.0.0.1:{port}")
            server, client = their_module.ZMQStream(rep), their_module.ZMQStream(req)
            server.on_recv(server.send_multipart)
            client.on_recv(lambda msg: (print(*msg), done.set()))
            client.send_multipart([b"hello", b"world"])
            await asyncio.wait_for(done.wait(), 20)
            print(type(server).__module__)
            server.close()
            client.close()
            context.term()

        asyncio.run(main())
    """)
    assert out == ["b'hello' b'world'", "zmqstream.stream"]


def test_modules_that_were_first_are_named(tmp_path):
    (tmp_path / "early.py").write_text("from zmq.eventloop.zmqstream import ZMQStream as Stream\n")
    (tmp_path / "heir.py").write_text(
        "from zmq.eventloop import zmqstream\nclass Heir(zmqstream.ZMQStream): pass\n"
    )
    out = script(
        """
        import sys, warnings, early, heir, zmqstream
        sys.modules["nothing"] = None
        for _ in range(2):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                zmqstream.install()
            print(len(caught), caught[0].category.__name__, caught[0].filename, caught[0].message)
        """,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"},
    )
    assert len(out) == 2
    for line in out:
        assert line.startswith("1 RuntimeWarning <string> ")
        assert "early, heir.Heir; call it before" in line


@pytest.mark.parametrize("order", ["before", "after"])
def test_green_keeps_pyzmqs(order):
    pytest.importorskip("gevent")
    green = "import zmq.green.eventloop.zmqstream as green"
    out = script(
        f"""
        import zmqstream
        {green if order == "before" else ""}
        zmqstream.install()
        {green if order == "after" else ""}
        from zmq.eventloop.zmqstream import ZMQStream
        print(ZMQStream is zmqstream.ZMQStream)
        print(green.ZMQStream.__base__.__module__)
        """,
        flags=("-W", "error", "-W", "ignore:zmq.eventloop.ioloop:DeprecationWarning"),
    )
    assert out == ["True", "zmq.eventloop.zmqstream"]


def test_another_finder_that_asks_all_the_others():
    """As ours does; they must not ask each other for ever."""
    out = script("""
        import sys, zmqstream
        class Other:
            @classmethod
            def find_spec(cls, *args):
                found = (f.find_spec(*args) for f in sys.meta_path if f is not cls)
                return next(filter(None, found), None)
        sys.meta_path.insert(0, Other)
        zmqstream.install()
        sys.meta_path.insert(0, sys.meta_path.pop(1))
        from zmq.eventloop.zmqstream import ZMQStream
        print(ZMQStream is zmqstream.ZMQStream)
    """)
    assert out == ["True"]


def test_a_finder_of_old_is_passed_over(program):
    """One without find_spec(), as importlib does."""
    out = script(
        """
        import sys, zmqstream, zmq
        class Old:
            def find_module(self, name, path=None):
                return None
        if sys.version_info >= (3, 12):
            sys.meta_path.insert(0, Old())
        else:
            sys.meta_path.append(Old())  # importlib would warn; here ours comes to it, too
            from importlib.machinery import PathFinder
            sys.meta_path.append(sys.meta_path.pop(sys.meta_path.index(PathFinder)))
        zmqstream.install()
        from zmq.eventloop.zmqstream import ZMQStream
        print(ZMQStream is zmqstream.ZMQStream)
    """,
        flags=("-W", "error", "-W", "ignore::ImportWarning"),
    )
    assert out == ["True"]


def test_who_asks_the_loader_before_the_import_gets_its_answers():
    """As runpy and inspect do."""
    out = script("""
        import importlib.util, zmqstream
        zmqstream.install()
        loader = importlib.util.find_spec("zmq.eventloop.zmqstream").loader
        print("class ZMQStream" in loader.get_source("zmq.eventloop.zmqstream"))
    """)
    assert out == ["True"]


def test_uninstall_when_the_module_is_gone():
    out = script("""
        import sys, zmqstream
        zmqstream.install()
        import zmq.eventloop.zmqstream
        del sys.modules["zmq.eventloop.zmqstream"]
        zmqstream.uninstall()
        from zmq.eventloop.zmqstream import ZMQStream
        print(ZMQStream.__module__)
    """)
    assert out == ["zmq.eventloop.zmqstream"]


def test_a_module_that_fails_to_import(tmp_path):
    """Its error is the program's, and the next attempt is like the first."""
    out = script("""
        import sys, zmqstream
        zmqstream.install()
        sys.modules["tornado.ioloop"] = None
        for _ in range(2):
            try:
                import zmq.eventloop.zmqstream
            except ImportError as error:
                print(error.name)
        del sys.modules["tornado.ioloop"]
        import zmq.eventloop.zmqstream
        print(zmq.eventloop.zmqstream.ZMQStream is zmqstream.ZMQStream)
    """)
    assert out == ["tornado.ioloop", "tornado.ioloop", "True"]


# -- python -m zmqstream run -----------------------------------------------------------------------


def test_run_a_script(program):
    assert python(program, "a").stdout == f"{THEIRS} a\n"
    assert python("-m", "zmqstream", "run", program, "-m", "--help").stdout == f"{OURS} -m --help\n"


def test_run_a_module(program):
    done = python("-m", "zmqstream", "run", "-m", "program", "x", "-y", cwd=program.parent)
    assert done.stdout == f"{OURS} x -y\n"


def test_run_a_command(program, tmp_path):
    """A command of the PATH, which need not be Python: its Python children get it."""
    command = tmp_path / "start-it"
    command.write_text(f'#!/bin/sh\n"{sys.executable}" "{program}" child "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = python("-m", "zmqstream", "run", "start-it", "b", env={**os.environ, "PATH": path})
    assert done.stdout == f"{OURS} child b\n"


@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE")
def test_a_command_ends_with_its_reader(tmp_path):
    """Signals that Python ignores for itself are not ignored in the command."""
    command = tmp_path / "tell"
    command.write_text("#!/bin/sh\nkill -PIPE $$\necho it is ignored\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = python("-m", "zmqstream", "run", "tell", check=False, env=environment)
    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("start", "left"),
    [
        (["-m", "zmqstream"], []),
        (["-u", "-W", "error", "-m", "zmqstream"], ["-u", "-W", "error"]),
        (["-um", "zmqstream"], ["-u"]),
        (["-u", "-X", "utf8", "-mzmqstream"], ["-u", "-X", "utf8"]),
        (["-bumzmqstream"], ["-bu"]),
    ],
)
def test_options_of_python_are_kept(tmp_path, start, left):
    tell = tmp_path / "tell.py"
    tell.write_text("import sys; print(*sys.orig_argv[1:], sep='|')\n")
    done = python("run", tell, flags=start)
    assert done.stdout.strip().split("|") == [*left, str(tell)]


@pytest.mark.parametrize("how", ["subprocess", "sys.path", "spawn", "fork", "grandchild"])
def test_children_get_it_too(program, how):
    body = {
        "subprocess": "subprocess.run([sys.executable, sys.argv[1]], check=True)",
        "sys.path": "subprocess.run([sys.executable, sys.argv[1]], check=True, "
        "env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})",
        "grandchild": "subprocess.run([sys.executable, '-c', 'import subprocess, sys; "
        "subprocess.run([sys.executable, sys.argv[1]], check=True)', sys.argv[1]], check=True)",
        "spawn": "child = multiprocessing.get_context('spawn').Process(target=look); "
        "child.start(); child.join(); sys.exit(child.exitcode)",
        "fork": "child = os.fork()\n    if not child: look(); sys.stdout.flush(); os._exit(0)\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    }[how]
    if how == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    parent = program.parent / "parent.py"
    parent.write_text(
        "import multiprocessing, os, subprocess, sys\n"
        "def look():\n"
        "    from zmq.eventloop.zmqstream import ZMQStream\n"
        '    print(f"{ZMQStream.__module__}.{ZMQStream.__qualname__}", flush=True)\n'
        f'if __name__ == "__main__":\n    {body}\n'
    )
    assert python("-m", "zmqstream", "run", parent, program).stdout == f"{OURS}\n"


def test_the_program_is_as_without(tmp_path):
    """The same process, __main__, options of Python, exit code; sys.path has one entry more."""
    (tmp_path / "tell.py").write_text(
        "import __main__, os, sys\n"
        "print(os.getpid(), __name__, __main__.__file__, sys.argv, sys.flags.utf8_mode,\n"
        "      sys.warnoptions, *sys.path, sep='|')\n"
        "sys.exit(7)\n"
    )
    tell = [tmp_path / "tell.py", "x"]
    flags = ("-X", "utf8", "-W", "error")
    without = python(*tell, check=False, flags=flags)
    started = subprocess.Popen(
        [sys.executable, *flags, "-m", "zmqstream", "run", *map(str, tell)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = started.communicate(timeout=TIMEOUT)[0]
    assert started.returncode == without.returncode == 7
    told, expected = output.strip().split("|"), without.stdout.strip().split("|")
    if os.name != "nt":
        assert told[0] == str(started.pid)
    told.remove(str(STARTUP))
    assert told[1:] == expected[1:]


def test_another_sitecustomize_is_run_as_ever(tmp_path, program):
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    path = f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"
    done = python("-m", "zmqstream", "run", program, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == f"theirs\ntheirs\n{OURS}\n"  # one by each start of Python


def test_another_sitecustomize_that_fails_is_told_of_as_ever(tmp_path, program):
    (tmp_path / "sitecustomize.py").write_text("import no_such_module_of_theirs\n")
    path = f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"
    environment = {**os.environ, "PYTHONPATH": path}
    done = python("-m", "zmqstream", "run", program, env=environment, flags=())
    assert done.stdout == f"{OURS}\n"
    assert done.stderr.count("No module named 'no_such_module_of_theirs'") == 2  # as above


def test_a_module_that_is_not_there(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""if True:
        try:
            import zmq.eventloop.nothing
        except ModuleNotFoundError as error:
            print(error.name)
    """)
    done = python("-m", "zmqstream", "run", program, flags=())
    assert done.stdout == "zmq.eventloop.nothing\n"


def test_another_sitecustomize_may_change_the_path(tmp_path, program):
    """As it would without us; and the children get both."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.path[:0] = ['/one', '/two']\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    look = tmp_path / "look.py"
    look.write_text("import sys; print(*sys.path, sep='\\n')\n")
    expected = python(look, env=environment).stdout.splitlines()
    told = python("-m", "zmqstream", "run", look, env=environment).stdout.splitlines()
    assert "/two" in expected
    told.remove(str(STARTUP))
    assert told == expected


def test_a_child_that_has_no_zmqstream(tmp_path, program):
    """It works as ever, and says why it is not faster."""
    (tmp_path / "zmqstream.py").write_text("raise ImportError('not for this Python')\n")
    path = os.pathsep.join([str(STARTUP), str(tmp_path), os.environ["PYTHONPATH"]])
    done = python(program, env={**os.environ, "PYTHONPATH": path}, flags=())
    assert done.stdout == f"{THEIRS}\n"
    assert done.stderr.count("RuntimeWarning") == 1
    assert "cannot import zmqstream (not for this Python)" in done.stderr


def test_a_child_that_uses_no_stream_pays_nothing(tmp_path):
    """Nothing of ours, nor pyzmq, is imported for it."""
    path = os.pathsep.join([str(STARTUP), os.environ["PYTHONPATH"]])
    look = "import sys; print({'zmqstream', 'zmq', 'asyncio'} & set(sys.modules))"
    assert python("-c", look, env={**os.environ, "PYTHONPATH": path}).stdout == "set()\n"


def test_threads_that_import_at_the_same_time(tmp_path):
    """One has begun to import zmqstream when the other comes to it: neither waits for ever."""
    (tmp_path / "zmqstream.py").write_text("import __main__\n__main__.while_importing()\n")
    path = os.pathsep.join([str(STARTUP), str(tmp_path), os.environ["PYTHONPATH"]])
    out = script(
        """
        import os, sys, threading, time, zmq
        begun = threading.Event()
        def while_importing():
            begun.set()
            ends = time.monotonic() + 10
            while "sitecustomize.py" not in files_of(other) and time.monotonic() < ends:
                time.sleep(0)
            import colorsys  # any module will do that is not there yet
            sys.modules["zmqstream"].install = lambda: print("installed")
        def files_of(thread):
            frame = sys._current_frames().get(thread.ident)
            while frame is not None:
                yield os.path.basename(frame.f_code.co_filename)
                frame = frame.f_back
        def import_theirs():
            begun.wait(10)
            import zmq.eventloop
        other = threading.Thread(target=import_theirs, daemon=True)
        one = threading.Thread(target=__import__, args=["zmqstream"], daemon=True)
        for thread in (other, one):
            thread.start()
        for thread in (other, one):
            thread.join(5)
        os.write(1, str([one.is_alive(), other.is_alive()]).encode())
        os._exit(0) if one.is_alive() else None
        """,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert "[False, False]" in "".join(out)
    assert "installed" in "".join(out)


def test_who_only_looks_for_the_module_gets_it_later(tmp_path):
    look = tmp_path / "look.py"
    look.write_text(
        "import importlib.util\n"
        'print(importlib.util.find_spec("zmq.eventloop.zmqstream").name)\n' + PROGRAM
    )
    done = python("-m", "zmqstream", "run", look)
    assert done.stdout == f"zmq.eventloop.zmqstream\n{OURS}\n"


def test_control_c_reaches_the_program(tmp_path):
    waiting = tmp_path / "waiting.py"
    waiting.write_text(
        "import time\n"
        # a signal just before it sleeps does not end that sleep
        "try:\n    print('waiting', flush=True)\n    while True: time.sleep(0.01)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "zmqstream", "run", str(waiting)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=TIMEOUT)[0] == "interrupted\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no-such-thing"], "no-such-thing is neither a file nor a command of your PATH"),
        (["run", "-m"], "the name of a module is missing"),
        (["run", "--quick", "x.py"], "unknown option --quick"),
        (["run"], ""),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_what_cannot_be_run(arguments, said):
    done = python("-m", "zmqstream", *arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_cannot_be_started(tmp_path):
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = python("-m", "zmqstream", "run", "broken", check=False, env=environment)
    assert done.returncode == 2
    assert f"cannot start {tmp_path / 'broken'}: No such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["-E", "-S"])
def test_where_run_cannot_work(flag, program):
    package = str(Path(zmqstream.__file__).parent.parent)
    libraries = [package, *(p for p in sys.path if p.endswith("site-packages"))]
    start = (
        f"import sys; sys.path[:0] = {libraries!r}; sys.argv[1:] = ['run', {str(program)!r}]; "
        "import runpy; runpy.run_module('zmqstream', run_name='__main__')"
    )
    done = python("-c", start, check=False, flags=(flag,))
    assert done.returncode == 2
    assert "start Python without -I, -E and -S" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help(arguments):
    done = python("-m", "zmqstream", *arguments)
    assert "run" in done.stdout
    assert python("-m", "zmqstream", "--version").stdout == f"zmqstream {zmqstream.__version__}\n"
    assert "run -m MODULE [ARGS...]" in python("-m", "zmqstream", "run", "--help").stdout


def test_methods_of_the_socket_can_be_replaced():
    """On one stream, as a test does that mocks them."""
    context = zmq.Context()
    loop = zmqstream.EventLoop()
    stream = zmqstream.ZMQStream(context.socket(zmq.PUSH), loop)
    with mock.patch.object(stream, "connect") as connect:
        stream.connect("tcp://127.0.0.1:1")
    connect.assert_called_once_with("tcp://127.0.0.1:1")
    assert stream.connect == stream.socket.connect
    stream.close()
    loop.close()
    context.term()


# -- zmq.asyncio -----------------------------------------------------------------------------------

ASYNC_PROGRAM = """
import sys
import zmq.asyncio
from zmq.asyncio import Context, Poller, Socket
print(*sorted({cls.__module__ for cls in (Context, Poller, Socket)}), *sys.argv[1:])
"""


@pytest.mark.parametrize("first", ["", "import zmq.asyncio", "import zmq.auth.asyncio"])
def test_install_asyncio(first):
    script(f"""
        {first}
        import zmqstream
        zmqstream.install(asyncio=True)
        zmqstream.install()
        import zmq, zmq.asyncio, zmqstream.asyncio
        import zmq.auth.asyncio as auth
        for name in ("Context", "Socket", "Poller"):
            assert getattr(zmq.asyncio, name) is getattr(zmqstream.asyncio, name)
        assert auth.Poller is zmqstream.asyncio.Poller
        with zmq.asyncio.Context() as context, context.socket(zmq.PULL) as socket:
            assert type(socket) is zmqstream.asyncio.Socket
        zmqstream.uninstall()
        zmqstream.uninstall()
        for name in ("Context", "Socket", "Poller"):
            assert getattr(zmq.asyncio, name).__module__ == "zmq.asyncio"
        assert auth.Poller is zmq.asyncio.Poller
        with zmq.asyncio.Context() as context, context.socket(zmq.PULL) as socket:
            assert type(socket) is zmq.asyncio.Socket
    """)


def test_install_leaves_asyncio_alone():
    script("""
        import zmqstream
        zmqstream.install()
        import zmq.asyncio
        assert zmq.asyncio.Socket.__module__ == "zmq.asyncio"
    """)


def test_install_asyncio_too_late():
    script("""
        import types, sys, warnings
        import zmq.asyncio, zmqstream

        late = sys.modules["late"] = types.ModuleType("late")
        late.Poller = zmq.asyncio.Poller

        class Subclass(zmq.asyncio.Socket):
            pass

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            zmqstream.install(asyncio=True)
        texts = [str(each.message).partition(";")[0] for each in caught]
        told = sorted(text.rpartition("pyzmq's ")[2] for text in texts)
        assert told == ["Poller: late", "Socket: __main__.Subclass"], told
    """)


def test_run_asyncio(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ASYNC_PROGRAM)
    ours, theirs = "zmqstream.asyncio", "zmq.asyncio"
    run = ("-m", "zmqstream", "run")
    assert python(*run, "--asyncio", program, "a").stdout.split() == [ours, "a"]
    assert python(*run, "--asyncio", "-m", "program", cwd=tmp_path).stdout.split() == [ours]
    assert python(*run, program).stdout.split() == [theirs]
    parent = tmp_path / "parent.py"
    parent.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, {str(program)!r}], check=True)\n"
    )
    assert python(*run, "--asyncio", parent).stdout.split() == [ours]
    assert python(*run, "--asyncio", check=False).returncode == 2
