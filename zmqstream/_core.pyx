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

include "_counters.pxi"    # what the tests balance; nothing in an ordinary build
include "_build.pxi"       # how this was built, for bug reports
include "_libzmq.pxi"      # libzmq's functions, from the library that pyzmq has loaded
include "_errors.pxi"      # libzmq's error codes to exceptions; reporting
include "_frames.pxi"      # zmq_msg_t to bytes and Frames, and back
include "_sendqueue.pxi"   # what waits to be sent
include "_source.pxi"      # a socket that is watched, and the one door out of every operation
include "_reactor.pxi"     # poll, the ready list, turns, sweeps
include "_loops.pxi"       # the reactor's two homes: our own loop, and everybody else's
include "_outgoing.pxi"    # the way out: draining the queue, parking, outcomes
include "_flow.pxi"        # how much may wait to be sent, and for how long
include "_sending.pxi"     # what a program gives to be sent, on its way into the queue
include "_incoming.pxi"    # the way in: turns, from libzmq to the callback
include "_awaited.pxi"     # what coroutines await: a message, a send, room in the queue
include "_awaiting.pxi"    # streams that are awaited: who waits, and in what order
include "_stream.pxi"      # one stream's life, and its public face
include "_handler.pxi"     # IOLoop.add_handler for a ZeroMQ socket
