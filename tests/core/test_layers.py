"""Each part can be understood by itself: what its file says, and what it names."""

import re
from pathlib import Path

import pytest

import zmqstream
from zmqstream import _core

FOLDER = Path(zmqstream.__file__).parent / "core"

PARTS = {
    "ring": [_core.Delivery, _core.Ring],
    "outbox": [_core.Outbox],
    "mailbox": [_core.Mailbox],
    "callbacks": [_core.Callback, _core.Receiver, _core.CallbackRunner],
    "ready": [_core.ReadyList, _core.FdTable],
    "sweeper": [_core.Sweeper],
}
PARTS_OF_THE_REACTOR = ["ready", "sweeper"]
REACTOR = [*PARTS_OF_THE_REACTOR, "reactor", "own_loop", "guest_loop", "source"]


def text_of(name, kind):
    path = FOLDER / f"{name}.{kind}"
    if not path.exists():
        pytest.skip("the sources are not installed")
    return path.read_text(encoding="utf-8")


def head(name):
    """The comment that a file begins with."""
    return re.match(r"(#.*\n)+", text_of(name, "pyx")).group()


def forbidden(name):
    return r"stream|\bloops?\b" if name in PARTS_OF_THE_REACTOR else "stream"


@pytest.mark.parametrize("name", PARTS)
def test_head_describes_the_part_by_itself(name):
    assert not re.search(forbidden(name), head(name), re.IGNORECASE)


@pytest.mark.parametrize("name", PARTS)
def test_classes_are_described_by_themselves(name):
    for part in PARTS[name]:
        assert part.__doc__
        assert not re.search(forbidden(name), part.__doc__, re.IGNORECASE)


@pytest.mark.parametrize("kind", ["pyx", "pxd"])
@pytest.mark.parametrize("name", REACTOR)
def test_reactor_never_names_streams(name, kind):
    assert not re.search(r"\bStream\b", text_of(name, kind))


@pytest.mark.parametrize("kind", ["pyx", "pxd"])
@pytest.mark.parametrize("name", ["budget", "ring", "outbox", "mailbox", "callbacks"])
def test_parts_never_reach_up(name, kind):
    """They know neither what owns them nor what runs it."""
    assert not re.search(r"\b(Stream|Source|Reactor|Socket)\b", text_of(name, kind))
