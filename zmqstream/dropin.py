"""install(): puts zmqstream's ZMQStream in the place of pyzmq's.

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


def install() -> None:
    """Replace pyzmq's `zmq.eventloop.zmqstream.ZMQStream` by zmqstream's, in `zmq.eventloop` too.

    From then on, send() raises no TypeError for a frame that is not bytes-like. Like pyzmq's class,
    the stream reports the error later: to the message's callbacks and on_err(), or to the log.

    `zmq.green` keeps pyzmq's class. Idempotent. A RuntimeWarning names the modules that imported
    pyzmq's class before this call: they continue to use it.
    """
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _core.report_refusals(True)
    for name in (MODULE, PACKAGE):
        if name in sys.modules:
            _replace_class(sys.modules[name])
    if _original is not None:
        late = sorted(_users_of(_original))
        if late:
            warnings.warn(
                "zmqstream.install() was called too late: these continue to use pyzmq's ZMQStream: "
                f"{', '.join(late)}; call it before they are imported, or run the program with "
                "`python -m zmqstream run`",
                RuntimeWarning,
                stacklevel=2,
            )


def uninstall() -> None:
    """Undo install(). Existing streams, and modules that have imported ZMQStream since install(),
    keep zmqstream's class."""
    global _original
    _core.report_refusals(False)
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


def _users_of(original: Any) -> Iterator[str]:
    """The names of the modules that have imported pyzmq's class, and of its subclasses."""
    for name, module in list(sys.modules.items()):
        names = dict(getattr(module, "__dict__", {}))  # sys.modules may hold None
        if name not in (MODULE, __name__) and any(value is original for value in names.values()):
            yield name
    for subclass in original.__subclasses__():
        if subclass.__module__ != GREEN:
            yield f"{subclass.__module__}.{subclass.__qualname__}"


class _Finder(importlib.abc.MetaPathFinder):
    """Finds pyzmq's modules by the other finders, and wraps their loaders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (MODULE, PACKAGE, GREEN):
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
        else:
            self.loader.exec_module(module)
            if _finder in sys.meta_path and module.__name__ != GREEN:
                _replace_class(module)


_finder = _Finder()
