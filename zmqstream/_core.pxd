"""The data model of the core: every class, struct and enum, each field with its comment.

A fragment's declarations stand beside it: core/NAME.pxd has those of core/NAME.pyx.
"""
cimport cython
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t, uintptr_t
from zmq.backend.cython._zmq cimport Frame, Socket
from zmq.backend.cython.libzmq cimport zmq_msg_t

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

include "core/libzmq.pxd"
include "core/platform.pxd"
include "core/counters.pxd"
include "core/threads.pxd"
include "core/budget.pxd"
include "core/ring.pxd"
include "core/outbox.pxd"
include "core/mailbox.pxd"
include "core/callbacks.pxd"
include "core/states.pxd"
include "core/source.pxd"
include "core/ready.pxd"
include "core/sweeper.pxd"
include "core/reactor.pxd"
include "core/own_loop.pxd"
include "core/libuv.pxd"
include "core/guest_loop.pxd"
include "core/awaitables.pxd"
include "core/waiters.pxd"
include "core/close.pxd"
include "core/stream.pxd"
include "core/socket_waiters.pxd"
include "core/socket_stream.pxd"
include "core/handler.pxd"
