cdef enum Kind:                 # what an AwaitedMessage results in
    MESSAGE                     # a message, of recv_multipart()
    FRAME                       # its only frame, of recv()
    ITEM                        # a message of an `async for`, which ends with the stream
    PART                        # one frame, of an asynchronous socket's recv()
    INTO                        # the size of one frame, of its recv_into()


cdef class Awaited:
    """What `await` waits for: a coroutine to asyncio."""
    cdef object __weakref__
    cdef Stream stream
    cdef object future          # of the loop, which wakes it; None: it does not wait for one
    cdef bint ended

    cdef object step(self)
    cdef int abandon(self) except -1
    cdef object sleep(self)


@cython.final
cdef class AwaitedNothing(Awaited):
    pass


@cython.final
cdef class AwaitedLevel(Awaited):
    cdef bint empty             # until nothing is queued, not until there is room


cdef class AwaitedSend(Awaited):
    cdef Delivery delivery      # of the message, as long as it is queued
    cdef bint reported          # the outcome is known:
    cdef object error
    cdef bint unheard           # nobody else was told of that error
    cdef object result
    cdef bint yielding          # let the loop go round once first
    cdef bint limited           # its deadline is by the socket's SNDTIMEO

    cdef int report(self, object error, object result) except -1
    cdef int complain(self) except -1


cdef class AwaitedMessage(Awaited):
    cdef Kind kind
    cdef bint copy              # bytes rather than Frames
    cdef bint waiting           # it stands among the receivers
    cdef bint limited           # the socket's RCVTIMEO was looked at:
    cdef object timer           # the TimerHandle of _on_timeout(), or None
    cdef bint timed_out

    cdef object take(self, Ending *ending)
    cdef object stand_in_line(self, bint yielding, Ending ending)
    cdef int limit_wait(self) except -1
    cdef object received(self, object message)
    cdef int failed(self, object error) except -1
