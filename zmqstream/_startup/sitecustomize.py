"""Python imports this as it starts, in programs that `python -m zmqstream run` has started.

`run` puts this folder first in their PYTHONPATH. An import hook calls `zmqstream.install()` when
the program imports pyzmq's event loop modules. Nothing of zmqstream is imported before.

Pythons that are too old for zmqstream import this file too, so its syntax is that of Python 2.7.
There it only imports the sitecustomize that it hides.
"""
# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ASYNCIO = "ZMQSTREAM_ASYNCIO"  # set by `run --asyncio`: replace zmq.asyncio's classes too


class InstallFirst:
    """Finds pyzmq's modules by the other finders, and wraps their loaders."""

    @classmethod
    def find_spec(cls, fullname, path, target=None):
        if (
            fullname != "zmq.eventloop"
            and not fullname.startswith("zmq.eventloop.")
            and not (fullname == "zmq.asyncio" and os.environ.get(ASYNCIO))
        ):
            return None
        for finder in sys.meta_path[sys.meta_path.index(cls) + 1 :]:
            if not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                # Do not import zmqstream here: a finder runs under the global import lock, and
                # another thread that is importing zmqstream may wait for that lock.
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
        install()  # `module` may have been loaded by another thread before the first call


def _find_install():
    try:
        import zmqstream
    except ImportError as error:
        import warnings

        warnings.warn(
            "this program was started by `python -m zmqstream run` but uses pyzmq's ZMQStream, "
            "because " + sys.executable + " cannot import zmqstream (" + str(error) + ")",
            RuntimeWarning,
            stacklevel=2,
        )
        return lambda: None
    if os.environ.get(ASYNCIO):
        return lambda: zmqstream.install(asyncio=True)
    return zmqstream.install


def _import_hidden():
    """Import the sitecustomize that Python would have found without this folder.

    If there is none, this raises ImportError, which Python expects and ignores.
    """
    places = [i for i, entry in enumerate(sys.path) if os.path.abspath(entry or ".") == HERE]
    entries = [(i, sys.path[i]) for i in places]
    for i in reversed(places):
        del sys.path[i]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    finally:
        for i, entry in entries:  # programs may build the PYTHONPATH of their children from it
            sys.path.insert(i, entry)
        del ours  # keep it until here: Python 2 clears a module that has no references


if sys.version_info >= (3, 10):  # noqa: UP036  older Pythons import this file
    sys.meta_path.insert(0, InstallFirst)
_import_hidden()
