#!/usr/bin/env python3
"""Do a million random operations on each backend, and check them by the model in tests/model.

    nice python tools/soak.py                                 # all backends, some minutes each
    nice python tools/soak.py own-epoll --operations 100000
    python tools/soak.py own-epoll --episode 1-17             # repeat an episode in few steps

Prints how many messages were lost, doubled, out of order or stalled, how often another promise was
broken, and in which episodes. Exits with status 1 if there was a failure.
"""

from __future__ import annotations

import argparse
import collections
import logging
import os
import re
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from model import actions
from model.ends import Broken
from model.world import PATIENCE, SHORT_PATIENCE, World
from support.backends import IMPLEMENTATIONS, Backend, set_environment

STEPS = 300  # in an episode, which begins with new sockets on a new loop
KINDS = ("lost", "doubled", "reordered", "stalled", "wrong")
FREQUENT = ("Run", "Send", "PeerSend", "Plan", "Receive", "AtSockets")


def actions_of(seed):
    """The actions of an episode."""
    pick = actions.Pick(seed)
    kinds = list(actions.EVERYWHERE)
    kinds += [kind for kind in kinds if kind.__name__ in FREQUENT] * 4
    return [actions.Open.draw(pick)] + [pick.choice(kinds).draw(pick) for _ in range(STEPS)]


def perform(name, steps):
    """Do the steps on a new backend. Returns the World, and the Broken exception or None."""
    set_environment(name, os.environ.__setitem__)
    world = World(Backend(name))
    try:
        try:
            for action in steps:
                world.do(action)
        finally:
            world.end()
    except Broken as broken:
        return world, broken
    return world, None


def headline(broken):
    """The first line of the failure, without names and numbers."""
    return re.sub("[0-9.]+", "", str(broken).splitlines()[0])[:30]


def shorten(name, steps, broken):
    """Find fewer steps that fail in the same way. Returns their Broken exception."""
    line = headline(broken)
    size = len(steps) // 2
    while size:
        begin = 0
        while begin < len(steps):
            fewer = steps[:begin] + steps[begin + size :]
            other = perform(name, fewer)[1]
            if other is not None and headline(other) == line:
                steps, broken = fewer, other
            else:
                begin += size
        size //= 2
    return broken


def show(name, seed):
    """Repeat an episode, and print its failure. Returns the exit status."""
    steps = actions_of(seed)
    broken = perform(name, steps)[1]
    if broken is None:
        print("nothing is broken")
        return 0
    World.patience = SHORT_PATIENCE
    print(shorten(name, steps, broken))
    return 1


def soak(name, operations, seed):
    """Do episodes until there were so many operations. Returns the counts."""
    counts = collections.Counter()
    begin = time.monotonic()
    while counts["operations"] < operations:
        this = f"{seed}-{counts['episodes']}"
        World.patience = PATIENCE  # a failure makes it short
        world, broken = perform(name, actions_of(this))
        counts.update(world.counts)
        counts["episodes"] += 1
        if broken is not None:
            counts[broken.kind] += 1
            print(f"{name} --episode {this}: {str(broken).splitlines()[0]}", flush=True)
    counts["seconds"] = round(time.monotonic() - begin)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = IMPLEMENTATIONS
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(names))
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episode", help="repeat this episode only, and print its steps")
    options = parser.parse_args()
    warnings.simplefilter("error")
    logging.getLogger("tornado.general").disabled = True  # pyzmq's class logs there
    backends = options.backends or names
    if options.episode:
        return show(backends[0], options.episode)
    columns = ("operations", "received", "events", *KINDS, "seconds")
    rows = [("backend", *columns)]
    for name in backends:
        counts = soak(name, options.operations, options.seed)
        rows.append((name, *(f"{counts[column]:,}" for column in columns)))
    for row in rows:
        print(f"{row[0]:18}", *(f"{cell:>10}" for cell in row[1:]))
    return int(any(cell != "0" for row in rows[1:] for cell in row[4:-1]))


if __name__ == "__main__":
    sys.exit(main())
