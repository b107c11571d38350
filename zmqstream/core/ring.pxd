cdef struct Entry:              # a queued message
    PyObject *frames            # owned: its only frame, or a tuple of frames; NULL: a tombstone
    Py_ssize_t size             # bytes of all its frames
    int flags                   # the sender's flags for zmq_msg_send()
    bint has_delivery           # its Delivery is in Ring.deliveries


@cython.final
cdef class Delivery:            # what few messages carry beside their frames
    cdef Callback callback      # called with the outcome of this message alone, or None
    cdef object tracker         # zmq.MessageTracker of frames that are not copied, or None
    cdef AwaitedSend awaited    # the coroutine's wait for the outcome, or None
    cdef Delivery next_part     # of a message sent in parts: the next that has a callback, or None
    cdef readonly int64_t deadline  # the clock's time when the message expires, ns; 0: never
    cdef readonly Ring ring     # the ring that holds the message; None: it has left
    cdef int64_t place          # its number in that ring, counted from the ring's first message ever

    cpdef int release(self) noexcept


@cython.final
cdef class Ring:
    cdef Entry *entries
    cdef readonly Py_ssize_t capacity  # a power of two, or 0
    cdef Py_ssize_t head        # index of the oldest entry
    cdef readonly Py_ssize_t count       # entries: messages, and tombstones between them
    cdef readonly Py_ssize_t tombstones
    cdef int64_t first          # entries that have left: the place of the oldest
    cdef object deliveries      # a deque, oldest first; None: there has been none
    cdef readonly bytes peer    # the routing id of the peer that parked messages wait for, or None

    cpdef int push(self, object frames, Py_ssize_t size, int flags, Delivery delivery) except -1
    cdef Entry *append(self, object frames, Py_ssize_t size, int flags) noexcept
    cdef int make_deliveries(self) except -1
    cdef int grow(self) except -1
    cpdef object pop(self)
    cdef PyObject *pop_frames(self) noexcept
    cdef PyObject *advance(self) noexcept
    cpdef Delivery first_delivery(self)
    cpdef Delivery take_delivery(self)
    cdef Entry *oldest(self) noexcept
    cdef Entry *at(self, int64_t place) noexcept
    cpdef object cancel(self, Delivery delivery)
    cdef int compact(self) except -1
