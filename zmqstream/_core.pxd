"""The data model of the core: every class, struct and enum, each field with its comment.

A fragment's declarations stand beside it: core/NAME.pxd has what core/NAME.pyx implements.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from zmq.backend.cython._zmq cimport Frame, Socket
from zmq.backend.cython.libzmq cimport zmq_msg_t

include "core/libzmq.pxd"
include "core/platform.pxd"
include "core/counters.pxd"
include "core/budget.pxd"
include "core/ring.pxd"
include "core/outbox.pxd"
include "core/source.pxd"
include "core/reactor.pxd"
include "core/own_loop.pxd"
include "core/guest_loop.pxd"
include "core/awaitables.pxd"
include "core/stream.pxd"
include "core/handler.pxd"
