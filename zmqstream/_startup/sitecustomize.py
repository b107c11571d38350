"""Imported by Python as it starts, in programs that `python -m zmqstream run` has started.

This folder stands first in their PYTHONPATH. It calls `zmqstream.install()` as soon as the program
imports pyzmq's event loop modules, and costs nothing where it never does.

Pythons that are too old for zmqstream read this file, too. Its syntax is that of Python 2.7, and
there it only hands on to the sitecustomize that it hides.
"""
# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class InstallFirst:
    """Finds nothing itself."""

    @classmethod
    def find_spec(cls, fullname, path, target=None):
        if fullname != "zmq.eventloop" and not fullname.startswith("zmq.eventloop."):
            return None
        for finder in sys.meta_path[sys.meta_path.index(cls) + 1 :]:
            if not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                # Finders run under Python's one import lock: to import zmqstream here could wait
                # for ever for another thread that imports it, or something of it.
                if spec.loader is not None:
                    spec.loader = Loader(spec.loader)
                return spec
        return None


class Loader:
    """Installs zmqstream before a module is executed."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        install = _find_install()
        install()
        if InstallFirst in sys.meta_path:
            sys.meta_path.remove(InstallFirst)
        self.loader.exec_module(module)
        install()  # in `module`, which another thread may have found before the first one


def _find_install():
    try:
        import zmqstream
    except ImportError as error:
        import warnings

        warnings.warn(
            "this program was started by `python -m zmqstream run` and uses pyzmq's ZMQStream "
            "all the same: " + sys.executable + " cannot import zmqstream (" + str(error) + ")",
            RuntimeWarning,
            stacklevel=2,
        )
        return lambda: None
    return zmqstream.install


def _run_the_other():
    """Import the sitecustomize that Python would have found without this folder.

    Where there is none this is an ImportError, which Python expects and ignores.
    """
    places = [i for i, entry in enumerate(sys.path) if os.path.abspath(entry or ".") == HERE]
    entries = [(i, sys.path[i]) for i in places]
    for i in reversed(places):
        del sys.path[i]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    finally:
        for i, entry in entries:  # programs make the PYTHONPATH of their children of it
            sys.path.insert(i, entry)
        del ours  # last: Python 2 empties a module to which nothing refers


if sys.version_info >= (3, 10):  # noqa: UP036  older Pythons do read this
    sys.meta_path.insert(0, InstallFirst)
_run_the_other()
