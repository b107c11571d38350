"""Imported by Python as it starts, in programs that `python -m zmqstream run` has started.

This folder stands first in their PYTHONPATH. It calls `zmqstream.install()` as soon as the program
imports pyzmq's event loop modules, and costs nothing where it never does.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # of `typing`, which takes 2 ms to import
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


class InstallFirst:
    """Finds nothing itself."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "zmq.eventloop" and not fullname.startswith("zmq.eventloop."):
            return None
        for finder in sys.meta_path[sys.meta_path.index(cls) + 1 :]:
            if not hasattr(finder, "find_spec"):
                continue
            spec: Any = finder.find_spec(fullname, path, target)
            if spec is not None:
                # Finders run under Python's one import lock: to import zmqstream here could wait
                # for ever for another thread that imports it, or something of it.
                if spec.loader is not None:
                    spec.loader = Loader(spec.loader)
                return spec
        return None


class Loader:
    """Installs zmqstream before a module is executed."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self.loader
        install = _find_install()
        install()
        if InstallFirst in sys.meta_path:
            sys.meta_path.remove(InstallFirst)
        self.loader.exec_module(module)
        install()  # in `module`, which another thread may have found before the first one


def _find_install() -> Any:
    try:
        import zmqstream
    except ImportError as error:
        import warnings

        warnings.warn(
            f"this program was started by `python -m zmqstream run` and uses pyzmq's ZMQStream "
            f"all the same: {sys.executable} cannot import zmqstream ({error})",
            RuntimeWarning,
            stacklevel=2,
        )
        return lambda: None
    return zmqstream.install


def _run_the_other() -> None:
    """Import the sitecustomize that Python would have found without this folder."""
    places = [i for i, entry in enumerate(sys.path) if os.path.abspath(entry or ".") == HERE]
    entries = [(i, sys.path[i]) for i in places]
    for i in reversed(places):
        del sys.path[i]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours
    finally:
        for i, entry in entries:  # programs make the PYTHONPATH of their children of it
            sys.path.insert(i, entry)


sys.meta_path.insert(0, InstallFirst)
_run_the_other()
