cdef class Outgoing(Source):
    """The way out of one stream: its queue, and what is told of each message's outcome."""
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

    cdef int send_queued(self, Budget *budget) except -1
    cdef int interrupted(self) except -1
    cdef int handed_over(self, SendQueue queue, int code, bint raising) except -1
    cdef int outcome(self, SendQueue queue, int code, bint raising) except -1
    cdef int expire(self, SendExtra extra, bint raising) except -1
    cdef int expire_overdue(self, SendQueue queue, bint raising) except -1
    cdef int park(self, bytes peer) except -1
    cdef int unpark(self, Budget *budget) except -1
    cdef int tell(self, object frames, SendExtra extra, object error, bint raising) except -1
    cdef int tell_sender(
        self, object frames, SendExtra extra, object error, bint told, bint raising) except -1
    cdef int call_own(self, SendExtra extra, list message, object status, bint raising) except -1
    cdef int unparked(self, SendQueue waiting) except -1
    cdef int look_at_mailbox(self) noexcept
    cdef Py_ssize_t last_drain(self) except -1
    cdef int call_back(self, str what, object callback, tuple args, object context, bint raising) except -1
    cdef int returned(self, object result, object callback) except -1
    cdef object start(self, object result, object callback)
    cdef int task_ended(self, object task) except -1
    cdef int account(self, int64_t began, str what, object callback) except -1
    cdef bint tell_error(self, object error, bint raising) except -1

    # the stream's, whose flow is in flow.pyx, and whose life in stream.pyx
    cdef int check_open(self) except -1
    cdef int check_usable(self) except -1
    cdef int check_thread(self, str method) except -1
