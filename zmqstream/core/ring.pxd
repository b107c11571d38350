cdef struct Item:               # a queued message
    PyObject *frames            # owned: its only frame, or a tuple of frames; NULL: withdrawn
    Py_ssize_t size             # bytes of all its frames
    int flags                   # the caller's flags for zmq_msg_send()
    bint has_extra              # there is a SendExtra of it in SendQueue.extras


@cython.final
cdef class SendExtra:           # what few messages carry
    cdef object callback        # on_send for this message alone, or None
    cdef object context         # the contextvars context it was given in
    cdef object tracker         # zmq.MessageTracker of what is not copied, or None
    cdef object awaited         # the AwaitedSend of asend(), or None
    cdef SendExtra further      # of a message in parts: the next that has a callback, too; or None
    cdef int64_t deadline       # the clock's time when it expires, ns; 0: never
    cdef SendQueue queue        # where the message waits; None: it has gone
    cdef int64_t place          # which one it is there, counted from the queue's beginning

    cdef int forget(self) noexcept


@cython.final
cdef class SendQueue:
    cdef Item *items            # a ring
    cdef Py_ssize_t capacity    # a power of two, or 0
    cdef Py_ssize_t head        # index of the oldest
    cdef Py_ssize_t count       # items: messages waiting, and holes between them
    cdef Py_ssize_t holes       # those: items without frames
    cdef int64_t first          # items that have gone: the place of the oldest
    cdef object extras          # a deque: the SendExtras of those that have one, oldest first; or None
    cdef bytes peer             # of a ROUTER's parked messages: whose they are; or None

    cdef int push(self, object frames, Py_ssize_t size, int flags, SendExtra extra) except -1
    cdef int make_extras(self) except -1
    cdef int grow(self) except -1
    cdef int take_back(self, object frames) except -1
    cdef object pop(self)
    cdef SendExtra first_extra(self)
    cdef SendExtra take_extra(self)
    cdef int advance(self) noexcept
    cdef Item *at(self, int64_t place) noexcept
    cdef object withdraw(self, SendExtra extra)
    cdef int close_up(self) except -1
    cdef int clear(self) except -1
