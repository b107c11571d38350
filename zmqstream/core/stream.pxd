cdef class Stream(Awaiting):
    """One ZMQStream: see ZMQStream in stream.py for the public documentation."""
    cdef readonly object io_loop    # as given by the caller, or found
    cdef object py_socket       # what the `socket` attribute shows; None when it is closed
    cdef object shadowed        # the async socket that py_socket is our own shadow of, or None
    cdef str last_endpoint      # of a socket that is closed
    cdef object _monitor         # see _monitor.py: closed with the stream; None: there is none
    cdef readonly Py_ssize_t _lost  # messages that close() could not hand over
    cdef object close_callback  # of set_close_callback, or None
    cdef object close_context

    cdef str endpoint(self)
    cdef int set_receiver(
        self, object callback, bint copy, bint with_stream, Py_ssize_t batch, object max_concurrency,
    ) except -1
    cdef int close_for_good(self, object linger, Py_ssize_t unsent) except -1
    cdef int end_queues(self) except -1
    cdef int end_queue(self, SendQueue queue) except -1
    cdef int cancel_alive(self) except -1
    cdef int release(self, object linger, bint drain) except -1
    cdef int closed_directly(self) except -1
    cdef int close_socket(self, object linger) except -1
