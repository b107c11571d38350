"""install(): puts zmqstream's classes in the places of pyzmq's.

    import zmqstream
    zmqstream.install()
    from zmq.eventloop.zmqstream import ZMQStream  # zmqstream's

This command does the same without a change to the program, in its Python child processes too:

    python -m zmqstream run -m MODULE ARGS

install() does not import pyzmq's module, which would import Tornado. If the program imports that
module later, an import hook replaces the class then.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
import warnings
from typing import TYPE_CHECKING, Any

from zmqstream import _core
from zmqstream.stream import ZMQStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["install", "uninstall"]

MODULE = "zmq.eventloop.zmqstream"  # where pyzmq defines the class
PACKAGE = "zmq.eventloop"  # where programs may import the class from, too
GREEN = "zmq.green.eventloop.zmqstream"  # a subclass for gevent, which keeps pyzmq's class as base

_original: Any = None  # pyzmq's class, while ours is in its place

ASYNCIO = "zmq.asyncio"
ASYNCIO_CLASSES = ("Context", "Socket", "Poller")
AUTH = "zmq.auth.asyncio"  # has a name of its own for the Poller

_with_asyncio = False  # zmq.asyncio's classes are replaced, too
_asyncio_originals: dict[str, Any] = {}  # pyzmq's, by name, while ours are in their places


def install(*, asyncio: bool = False) -> None:
    """Replace pyzmq's `zmq.eventloop.zmqstream.ZMQStream` by zmqstream's, in `zmq.eventloop` too.

    From then on, send() raises no TypeError for a frame that is not bytes-like. Like pyzmq's class,
    the stream reports the error later: to the message's callbacks and on_err(), or to the log.

    `zmq.green` keeps pyzmq's class. Idempotent. A RuntimeWarning names the modules that imported
    a class of pyzmq before this call: they continue to use it.

    Parameters
    ----------
    asyncio : bool
        Also replace the Context, Socket and Poller of `zmq.asyncio` by those of
        `zmqstream.asyncio`. Existing sockets and contexts stay as they are.
    """
    global _with_asyncio
    _with_asyncio = _with_asyncio or asyncio
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _core.report_refusals(True)
    for name in (MODULE, PACKAGE):
        if name in sys.modules:
            _replace_class(sys.modules[name])
    if _with_asyncio and ASYNCIO in sys.modules:
        _replace_asyncio(sys.modules[ASYNCIO])
    replaced = [] if _original is None else [_original]
    for original in (*replaced, *_asyncio_originals.values()):
        late = sorted(_users_of(original))
        if late:
            warnings.warn(
                "zmqstream.install() was called too late: these continue to use pyzmq's "
                f"{original.__name__}: {', '.join(late)}; call it before they are imported, or run "
                "the program with `python -m zmqstream run`",
                RuntimeWarning,
                stacklevel=2,
            )


def uninstall() -> None:
    """Undo install(). Existing objects, and modules that have imported a class since install(),
    keep zmqstream's."""
    global _original, _with_asyncio
    _with_asyncio = False
    _core.report_refusals(False)
    for name, original in _asyncio_originals.items():
        ours = getattr(importlib.import_module("zmqstream.asyncio"), name)
        for module in (sys.modules.get(ASYNCIO), sys.modules.get(AUTH)):
            if getattr(module, name, None) is ours:
                setattr(module, name, original)
    _asyncio_originals.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    package = sys.modules.get(PACKAGE)
    if getattr(package, "ZMQStream", None) is ZMQStream:
        del package.ZMQStream  # type: ignore[union-attr]
    module = sys.modules.get(MODULE)
    if _original is not None and module is not None:
        module.ZMQStream = _original  # type: ignore[attr-defined]
    _original = None


def _replace_class(module: ModuleType) -> None:
    global _original
    present = getattr(module, "ZMQStream", None)
    if present is ZMQStream:
        return
    if module.__name__ == MODULE:
        _original = present
    module.ZMQStream = ZMQStream  # type: ignore[attr-defined]


def _replace_asyncio(module: Any) -> None:
    """Put zmqstream's classes into the module zmq.asyncio."""
    if not all(hasattr(module, name) for name in ASYNCIO_CLASSES):
        return  # it is being imported: the loader calls this again
    ours = importlib.import_module("zmqstream.asyncio")
    for name in ASYNCIO_CLASSES:
        present, replacement = getattr(module, name), getattr(ours, name)
        if present is not replacement:
            _asyncio_originals[name] = present
            setattr(module, name, replacement)
            if getattr(sys.modules.get(AUTH), name, None) is present:
                setattr(sys.modules[AUTH], name, replacement)


def _users_of(original: Any) -> Iterator[str]:
    """The names of the modules that have imported pyzmq's class, and of its subclasses."""
    for name, module in list(sys.modules.items()):
        names = dict(getattr(module, "__dict__", {}))  # sys.modules may hold None
        if name not in (MODULE, ASYNCIO, __name__) and any(
            value is original for value in names.values()
        ):
            yield name
    for subclass in original.__subclasses__():
        if subclass.__module__ not in (GREEN, "zmqstream.asyncio"):
            yield f"{subclass.__module__}.{subclass.__qualname__}"


class _Finder(importlib.abc.MetaPathFinder):
    """Finds pyzmq's modules by the other finders, and wraps their loaders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (MODULE, PACKAGE, GREEN, ASYNCIO):
            return None
        # Only the finders after this one: a finder before it may delegate to all others, as this
        # one does, and the two would call each other for ever.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            if not hasattr(finder, "find_spec"):
                continue  # importlib skips such a finder too
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:  # runpy needs get_code(), tracebacks get_source()
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader
        if module.__name__ == GREEN and _finder in sys.meta_path:
            base: Any = importlib.import_module(MODULE)
            base.ZMQStream = _original
            try:
                self.loader.exec_module(module)
            finally:
                base.ZMQStream = ZMQStream
            return
        self.loader.exec_module(module)
        if _finder not in sys.meta_path or module.__name__ == GREEN:
            return
        if module.__name__ != ASYNCIO:
            _replace_class(module)
        elif _with_asyncio:
            _replace_asyncio(module)


_finder = _Finder()
