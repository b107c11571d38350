cdef struct StreamCounts:       # what StreamStats tells
    int64_t messages_in
    int64_t bytes_in
    int64_t messages_out
    int64_t bytes_out
    int64_t errors
    int64_t dropped             # because a limit was reached
    int64_t expired             # because their time was over
    int64_t turns
    int64_t turns_cut           # that ended because their budget was spent


cdef class Stream(Source):
    """One ZMQStream: see ZMQStream in stream.py for the public documentation."""
    # what it was made of
    cdef readonly object io_loop    # as given by the caller, or found
    cdef object py_socket       # what the `socket` attribute shows; None when it is closed
    cdef object shadowed        # the async socket that py_socket is our own shadow of, or None
    cdef int socket_type
    cdef bint own_send          # the class does not override send_multipart()

    # its parts
    cdef Outbox out             # what waits to be sent
    cdef Mailbox mailbox        # what other threads have sent; None: none ever has (with the GIL)
    cdef CallbackRunner runner
    cdef Receiver receiver      # of on_recv(), or None
    cdef Callback send_callback     # of on_send(), or None; and so on
    cdef Callback err_callback
    cdef Callback drain_callback
    cdef Callback close_callback
    cdef Waiters waiters        # coroutines that await it; None: none ever has
    cdef StreamCounts counts

    # its state, beside that of a source
    cdef WriteState write
    cdef int false_pollouts     # how often in a row POLLOUT was shown after a refusal
    cdef int changes            # grows when a loop over messages must look around
    cdef int turn_messages      # the budget of a turn: messages...
    cdef int64_t turn_ns        # ...and time
    cdef dict parts             # {thread: PartialMessage} of messages that are sent in parts; None: none was
    cdef object unreported      # a deque of what was dropped: (frames, Delivery, error); or None
    cdef bint drain_due         # the queue has fallen to `low`: schedule it
    cdef bint drain_scheduled   # _call_on_drain() is scheduled
    cdef int has_listener       # there is a send_callback or an err_callback
    cdef bint closing           # aclose() has begun: nothing is received any more
    cdef object expiry_timer    # the TimerHandle of _on_expiry(), or None
    cdef int64_t expiry_at      # when that will be, ns

    # its end
    cdef object close_reason    # the error that has closed the stream, or None
    cdef str last_endpoint      # what endpoint() has found
    cdef object _monitor        # see _monitor.py: closed with the stream; None: there is none
    cdef readonly Py_ssize_t _lost  # messages that close() could not hand over
