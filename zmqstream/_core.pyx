# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True, auto_pickle=False
# cython: freethreading_compatible=True
"""The compiled core of zmqstream: the way of a message between libzmq and Python.

This file is a table of contents, and has the imports of all fragments. Their declarations are in
_core.pxd.
"""

# ruff: noqa
import atexit  # no-cython-lint
import functools  # no-cython-lint
import importlib  # no-cython-lint
import logging  # no-cython-lint
import os  # no-cython-lint
import selectors  # no-cython-lint
import sys  # no-cython-lint
import threading  # no-cython-lint
import warnings  # no-cython-lint
import weakref  # no-cython-lint
from collections import deque  # no-cython-lint
from heapq import heapify, heappop, heappush  # no-cython-lint

cimport cython  # no-cython-lint
from cpython.buffer cimport PyObject_CheckBuffer  # no-cython-lint
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check  # no-cython-lint
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE  # no-cython-lint
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit  # no-cython-lint
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetObject, PyErr_WriteUnraisable  # no-cython-lint
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc  # no-cython-lint
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree  # no-cython-lint
from cpython.pycapsule cimport PyCapsule_GetPointer  # no-cython-lint
from cpython.pythread cimport PyThread_allocate_lock, PyThread_free_lock  # no-cython-lint
from cpython.pythread cimport PyThread_acquire_lock, PyThread_release_lock, WAIT_LOCK  # no-cython-lint
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF  # no-cython-lint
from libc.errno cimport EAGAIN, EEXIST, EINTR, ENOMEM, ETIMEDOUT, errno  # no-cython-lint
from libc.limits cimport INT_MAX  # no-cython-lint
from libc.math cimport ceil  # no-cython-lint
from libc.stdint cimport INT64_MAX  # no-cython-lint
from libc.string cimport memcpy, memset  # no-cython-lint

import zmq  # no-cython-lint
from zmq.backend.cython import _zmq as _pyzmq_extension  # no-cython-lint

# what the fragments stand on
include "core/libzmq.pyx"      # libzmq's functions, from the library that pyzmq has loaded
include "core/counters.pyx"    # what the tests balance; nothing in an ordinary build
include "core/build.pyx"       # how this was built, for bug reports
include "core/errors.pyx"      # libzmq's error codes to exceptions; reporting
include "core/frames.pyx"      # zmq_msg_t to bytes and Frames, and back

# parts: each can be understood, and is tested, by itself
include "core/budget.pyx"      # what a turn, or a flush, may still handle
include "core/ring.pyx"        # queued messages, oldest first
include "core/outbox.pyx"      # what waits to be sent: a ring, limits, deadlines, parked messages
include "core/mailbox.pyx"     # what other threads send
include "core/callbacks.pyx"   # user code: what was registered, and how it is run

# the event loop's side
include "core/states.pyx"      # the states of a source, and every change of them
include "core/source.pyx"      # a socket that is watched, and the one way out of every operation
include "core/ready.pyx"       # who is ready, and who watches a descriptor
include "core/sweeper.pyx"     # edges that user code has swallowed
include "core/threads.pyx"     # the thread that runs a loop, and the one that owns a stream
include "core/reactor.pyx"     # poll, passes, turns
include "core/own_loop.pyx"    # the reactor of loops that are ours
include "core/libuv.pyx"       # the hook that makes uvloop's loops ours
include "core/guest_loop.pyx"  # the reactor of all other loops

# a stream
include "core/turn.pyx"        # what a stream does when the loop comes to it
include "core/receive.pyx"     # the way in: from libzmq to the callback
include "core/enqueue.pyx"     # what a program gives to be sent, on its way into the outbox
include "core/drain.pyx"       # the way out: from the outbox to libzmq, and outcomes
include "core/flow.pyx"        # limits, drops, deadlines
include "core/flush.pyx"       # receiving and sending without the loop
include "core/awaitables.pyx"  # what coroutines await: a message, a send, room
include "core/waiters.pyx"     # coroutines that wait, and how they take turns with the loop
include "core/close.pyx"       # the end of a stream
include "core/stream.pyx"      # the class: hooks of the reactor, and the public face

# asynchronous sockets, on the same machinery
include "core/socket_waiters.pyx"  # receives, sends and polls that wait, as futures
include "core/socket_stream.pyx"   # the stream inside such a socket
include "core/socket_calls.pyx"    # its methods, for each message

# beside streams
include "core/handler.pyx"     # IOLoop.add_handler() for a ZeroMQ socket
