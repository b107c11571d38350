@cython.final
cdef class Callback:
    cdef str what               # which callback it is, for reports: "the on_send callback"
    cdef readonly object function
    cdef object context         # the contextvars context of its registration
    cdef bint with_owner        # called with its owner as first argument


@cython.final
cdef class Receiver:
    cdef readonly object function
    cdef readonly object context  # the contextvars context of its registration
    cdef bint with_owner        # called with its owner as first argument
    cdef bint copy              # frames are bytes, not zmq.Frame
    cdef Py_ssize_t batch       # the most messages in the list of one call; 0: called with one message
    cdef Py_ssize_t max_concurrency  # the most coroutines alive at a time; 0: any number


@cython.final
cdef class CallbackRunner:
    cdef object loop            # the asyncio loop that runs coroutines and gets reports
    cdef readonly bint debug    # debug mode: slow callbacks are logged
    cdef readonly bint timing   # callbacks are timed, for debug mode or...
    cdef bint timed_for_stats   # ...for statistics
    cdef readonly int64_t callback_ns  # the time they took
    cdef set tasks              # of coroutine callbacks, until they end; None: there has been none
    cdef set bounded            # those of a receiver with max_concurrency
    cdef int starting           # bounded coroutines whose task is being created

    cpdef int open(self, object loop, bint debug) noexcept
    cpdef int time_for_stats(self, bint enabled) noexcept
    cpdef int call(self, Callback callback, tuple args, object owner, bint raising) except -1
    cdef int account(self, int64_t began, str what, object function, object owner) except -1
    cpdef int returned(self, object result, object function, object owner) except -1
    cpdef object start(self, object result, object function, object owner)
    cdef bint is_full(self, Py_ssize_t max_concurrency) noexcept
    cpdef object start_bounded(self, object result, object function, object owner)
    cpdef int task_ended(self, object task, object owner) except -1
    cpdef set alive(self)
    cpdef int cancel_bounded(self) except -1
