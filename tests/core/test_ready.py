"""ReadyList and FdTable: which sources are ready, and which source watches a descriptor."""

import random

import pytest

from zmqstream._core import FdTable, ReadyList, Source


def filled(count):
    ready, sources = ReadyList(), [Source() for _ in range(count)]
    for source in sources:
        ready.append(source)
    return ready, sources


def test_order():
    ready, sources = filled(3)
    assert list(ready) == sources
    assert list(ReadyList()) == []


@pytest.mark.parametrize("which", [0, 1, 2])
def test_remove(which):
    """From the front, the middle and the end; the rest is linked, and can be added to."""
    ready, sources = filled(3)
    removed = sources.pop(which)
    ready.remove(removed)
    assert list(ready) == sources
    ready.append(removed)
    assert list(ready) == [*sources, removed]


def test_remove_of_the_only_one():
    ready, (source,) = filled(1)
    ready.remove(source)
    assert list(ready) == []
    ready.append(source)
    assert list(ready) == [source]


def test_from_one_list_to_another():
    ready, sources = filled(3)
    later = ReadyList()
    ready.remove(sources[1])
    later.append(sources[1])
    assert (list(ready), list(later)) == ([sources[0], sources[2]], [sources[1]])


def test_anything_on_two_lists():
    """Beside plain lists."""
    lists, plain = [ReadyList(), ReadyList()], [[], []]
    sources = [Source() for _ in range(20)]
    for _ in range(2000):
        source = random.choice(sources)
        (where,) = [i for i in (0, 1) if source in plain[i]] or [None]
        if where is None:
            where = random.randrange(2)
            lists[where].append(source)
            plain[where].append(source)
        else:
            lists[where].remove(source)
            plain[where].remove(source)
        assert [list(ready) for ready in lists] == plain


# -- descriptors -----------------------------------------------------------------------------------


def test_descriptors():
    table, first, second = FdTable(), Source(), Source()
    table.put(3, first)
    table.put(5, second)
    assert table.get(3) is first
    assert table.get(4) is None
    assert table.get(5) is second


def test_descriptors_that_were_never_put():
    table = FdTable()
    for fd in (-1, 0, 63, 64, 10**6):
        assert table.get(fd) is None
        table.remove(fd, Source())


def test_growth():
    """What was there is still there, and what is new is empty."""
    table, sources = FdTable(), {fd: Source() for fd in (0, 63, 64, 127, 128, 1000, 5000)}
    for fd, source in sources.items():
        table.put(fd, source)
    for fd in range(-10, 10_000):
        assert table.get(fd) is sources.get(fd)


def test_descriptor_that_is_in_use_again():
    """Who had it before does not take it away from the other."""
    table, before, now = FdTable(), Source(), Source()
    table.put(3, before)
    table.put(3, now)
    table.remove(3, before)
    assert table.get(3) is now
    table.remove(3, now)
    assert table.get(3) is None
