cdef class Stream(Source):
    """One ZMQStream: see ZMQStream in stream.py for the public documentation."""
    cdef int socket_type
    cdef Outbox out             # what waits to be sent
    cdef int running            # turns and flushes under way, nested
    cdef int turn_messages      # the budget of a turn: messages...
    cdef int64_t turn_ns        # ...and time
    cdef int64_t messages_out   # and what else stats() tells
    cdef int64_t bytes_out
    cdef int64_t errors
    cdef int64_t turns
    cdef int64_t turns_cut
    cdef int64_t dropped        # because the queue was full
    cdef int64_t expired        # because their time was over
    cdef bint timing            # callbacks are timed...
    cdef bint timed_for_stats   # ...because stats() is to tell
    cdef int64_t callback_ns    # what they took
    cdef bint debug             # debug mode: calls from other threads are errors, slow callbacks are logged
    cdef bint blocked           # libzmq refused the oldest message in this turn
    cdef int lies               # how often EVENTS then said that it would be taken
    cdef object send_callback   # of on_send, or None
    cdef object send_context    # the contextvars context of its registration
    cdef bint send_stream       # call it with the stream as first argument
    cdef object err_callback    # of on_err, or None
    cdef object err_context
    cdef set tasks              # of coroutine callbacks, until they end; None: never any
    cdef bint drain_due         # _call_on_drain() is scheduled
    cdef list drainers          # futures of those that wait for `low`; None: never any
    cdef list emptiers          # futures of those that wait for an empty queue, or None
    cdef object drain_callback  # of on_drain, or None
    cdef object drain_context
    cdef object untold          # a deque of what was dropped: (frames, SendExtra, error); or None
    cdef object timer           # the TimerHandle of _on_expiry(), or None
    cdef int64_t timer_at       # when that will be, ns
    cdef bint own_send          # the class does not override send_multipart()
    cdef list parts             # frames sent with SNDMORE, until the last one comes; or None
    cdef list part_extras       # their SendExtras
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
    cdef Budget paced           # what they may do before the loop is let go once round
    cdef bint pace_asked        # _loop_came_by() is scheduled
    cdef object ended_by        # the error that has closed the stream, or None
    cdef readonly object io_loop    # as given by the caller, or found
    cdef object py_socket       # what the `socket` attribute shows; None when it is closed
    cdef object shadowed        # the async socket that py_socket is our own shadow of, or None
    cdef str last_endpoint      # of a socket that is closed
    cdef object _monitor         # see _monitor.py: closed with the stream; None: there is none
    cdef readonly Py_ssize_t _lost  # messages that close() could not hand over
    cdef object close_callback  # of set_close_callback, or None
    cdef object close_context
