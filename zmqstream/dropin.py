"""install(): programs find this ZMQStream where they look for pyzmq's.

    import zmqstream
    zmqstream.install()
    from zmq.eventloop.zmqstream import ZMQStream  # zmqstream's

Without a change to the program, and in its Python child processes too:

    python -m zmqstream run -m MODULE ARGS

Nothing is imported that the program does not import: where pyzmq's module (and Tornado with it) is
not there yet, our class takes its place when it comes.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
import warnings
from typing import TYPE_CHECKING, Any

from zmqstream.stream import ZMQStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["install", "uninstall"]

HOME = "zmq.eventloop.zmqstream"  # where pyzmq defines it
ALSO = "zmq.eventloop"  # where programs look for it, too
GREEN = "zmq.green.eventloop.zmqstream"  # a subclass of pyzmq's, for gevent: it stays that

_theirs: Any = None  # pyzmq's class, while ours is in its place


def install() -> None:
    """Put ZMQStream where pyzmq's is found: `zmq.eventloop.zmqstream.ZMQStream` (and in
    `zmq.eventloop`). `zmq.green` keeps pyzmq's. Idempotent.

    A RuntimeWarning names modules that have imported pyzmq's class before: they go on using it.
    """
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for name in (HOME, ALSO):
        if name in sys.modules:
            _put(sys.modules[name])
    if _theirs is not None:
        late = sorted(_users_of(_theirs))
        if late:
            warnings.warn(
                "zmqstream.install() came too late for these, which go on using pyzmq's ZMQStream: "
                f"{', '.join(late)}; call it before they are imported, or run the program by "
                "`python -m zmqstream run`",
                RuntimeWarning,
                stacklevel=2,
            )


def uninstall() -> None:
    """Take back what install() did. Streams that exist, and modules that have imported ZMQStream
    meanwhile, keep zmqstream's."""
    global _theirs
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    also = sys.modules.get(ALSO)
    if getattr(also, "ZMQStream", None) is ZMQStream:
        del also.ZMQStream  # type: ignore[union-attr]
    home = sys.modules.get(HOME)
    if _theirs is not None and home is not None:
        home.ZMQStream = _theirs  # type: ignore[attr-defined]
    _theirs = None


def _put(module: ModuleType) -> None:
    global _theirs
    found = getattr(module, "ZMQStream", None)
    if found is ZMQStream:
        return
    if module.__name__ == HOME:
        _theirs = found
    module.ZMQStream = ZMQStream  # type: ignore[attr-defined]


def _users_of(theirs: Any) -> Iterator[str]:
    """What refers to pyzmq's class by itself: modules that imported it, and its subclasses."""
    for name, module in list(sys.modules.items()):
        names = dict(getattr(module, "__dict__", {}))  # None, and other things, can be in there
        if name not in (HOME, __name__) and any(value is theirs for value in names.values()):
            yield name
    for subclass in theirs.__subclasses__():
        if subclass.__module__ != GREEN:
            yield f"{subclass.__module__}.{subclass.__qualname__}"


class _Finder(importlib.abc.MetaPathFinder):
    """Lets everybody else find pyzmq's modules, and follows their import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (HOME, ALSO, GREEN):
            return None
        # those in front of us were asked already; and whoever is there and asks us may be asked by
        # us in turn, for ever
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            if not hasattr(finder, "find_spec"):
                continue  # as importlib does: one for import systems of old
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:  # get_code() for runpy, get_source()...
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader
        if module.__name__ == GREEN and _finder in sys.meta_path:
            home: Any = importlib.import_module(HOME)
            home.ZMQStream = _theirs
            try:
                self.loader.exec_module(module)
            finally:
                home.ZMQStream = ZMQStream
        else:
            self.loader.exec_module(module)
            if _finder in sys.meta_path and module.__name__ != GREEN:
                _put(module)


_finder = _Finder()
