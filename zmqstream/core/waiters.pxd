cdef class Awaiting(Incoming):
    """What coroutines await of a stream."""
    cdef Budget paced           # what they may do before the loop is let go once round
    cdef bint pace_asked        # _loop_came_by() is scheduled
    cdef object ended_by        # the error that has closed the stream, or None

    cdef int wake_receiver(self) except -1
    cdef int begin_pace(self) except -1
    cdef bint pace_over(self) except -1
    cdef int check_running(self) except -1
    cdef int check_receivable(self, Kind kind) except -1
    cdef object receive_one(self, bint copy)
    cdef AwaitedMessage receiver(self, Kind kind, bint copy)
    cdef AwaitedLevel level(self, bint emptied)
    cdef int end_awaiting(self) except -1
