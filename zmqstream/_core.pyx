# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True, auto_pickle=False
"""The compiled core of zmqstream: the way of a message between libzmq and Python.

This file is a table of contents; the data model is in _core.pxd, the code in the fragments, in
the order of a message's way in.
"""

# for the fragments; the linter does not look into them
import importlib  # no-cython-lint
import logging  # no-cython-lint
import os  # no-cython-lint
import selectors  # no-cython-lint
import sys  # no-cython-lint
import threading  # no-cython-lint
import warnings  # no-cython-lint
from collections import deque  # no-cython-lint

cimport cython  # no-cython-lint
import zmq  # no-cython-lint

include "core/libzmq.pyx"      # libzmq's functions, from the library that pyzmq has loaded
include "core/counters.pyx"    # what the tests balance; nothing in an ordinary build
include "core/build.pyx"       # how this was built, for bug reports
include "core/errors.pyx"      # libzmq's error codes to exceptions; reporting
include "core/budget.pyx"      # what a turn, or a flush, may still handle
include "core/frames.pyx"      # zmq_msg_t to bytes and Frames, and back
include "core/ring.pyx"        # what waits to be sent
include "core/outbox.pyx"      # that, its limits, and what is parked
include "core/source.pyx"      # a socket that is watched, and the one door out of every operation
include "core/reactor.pyx"     # poll, the ready list, turns, sweeps
include "core/own_loop.pyx"    # the reactor of our own loop
include "core/guest_loop.pyx"  # the reactor of everybody else's
include "core/drain.pyx"       # the way out: draining the queue, parking, outcomes
include "core/flow.pyx"        # how much may wait to be sent, and for how long
include "core/enqueue.pyx"     # what a program gives to be sent, on its way into the queue
include "core/receive.pyx"     # the way in: turns, from libzmq to the callback
include "core/awaitables.pyx"  # what coroutines await: a message, a send, room in the queue
include "core/waiters.pyx"     # streams that are awaited: who waits, and in what order
include "core/close.pyx"       # the end of a stream
include "core/stream.pyx"      # one stream's life, and its public face
include "core/handler.pyx"     # IOLoop.add_handler for a ZeroMQ socket
