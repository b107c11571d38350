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
        sys.meta_path.remove(cls)
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
            return None
        zmqstream.install()
        for finder in sys.meta_path:  # anew: install() has changed it
            if not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


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
