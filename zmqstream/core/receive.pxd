cdef class Incoming(Sender):
    """The way in of one stream, and its turns."""
    cdef int changes            # grows when a loop over messages must look around
    cdef object recv_callback   # of on_recv, or None
    cdef object recv_context    # the contextvars context of its registration
    cdef bint recv_copy         # bytes rather than Frames
    cdef bint recv_stream       # call it with the stream as first argument
    cdef Py_ssize_t recv_batch  # call it with a list of so many messages at most; 0: with one message
    cdef Py_ssize_t max_alive   # so many of its coroutines may be alive; 0: any number
    cdef set alive              # those, where that is bounded; None: never any
    cdef int starting           # those whose task is being made
    cdef set closers            # tasks in aclose(), which waits for callbacks but not for these; or None
    cdef object receivers       # a deque of AwaitedMessages that wait, in order; None: never any
    cdef bint awaited           # the first of them is to be woken when there is a message
    cdef bint closing           # aclose() has begun: nothing is received any more
    cdef int64_t messages_in    # what stats() tells
    cdef int64_t bytes_in

    cdef int rest(self, bint drained) except -1
    cdef int receive_turn(self, Budget *budget) except -1
    cdef int receive_loop(self, Budget *budget) except -1
    cdef int receive_batches(self, Budget *budget) except -1
    cdef int fill(self, list batch, Budget *budget) except -1
    cdef bint full(self) noexcept
    cdef int received(self, object result, object callback) except -1
    cdef int receive_failed(self, int code) except -1
    cdef object receive_rest(self, void *handle, zmq_msg_t *msg, int size, bint copy)
    cdef int flush_loop(self, int flag, Budget *budget) except -1
    cdef bint flush_receive(self, bint *drained) except -1
