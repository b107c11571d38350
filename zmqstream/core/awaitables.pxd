cdef enum Kind:                 # what an AwaitedMessage gives
    MESSAGE                     # a message, of recv_multipart()
    FRAME                       # its only frame, of recv()
    ITEM                        # a message of an `async for`, which ends with the stream


cdef class Awaited:
    """What `await` waits for: a coroutine to asyncio."""
    cdef object __weakref__
    cdef Stream stream
    cdef object future          # of the loop, which wakes it; None: it does not wait for one
    cdef bint ended

    cdef object step(self)
    cdef int abandon(self) except -1
    cdef object sleep(self, object loop)


@cython.final
cdef class AwaitedNothing(Awaited):
    pass


@cython.final
cdef class AwaitedLevel(Awaited):
    cdef bint emptied           # an empty queue, not `low`


@cython.final
cdef class AwaitedSend(Awaited):
    cdef SendExtra extra        # of the message, as long as it is queued
    cdef bint told              # of the outcome:
    cdef object error
    cdef bint alone             # nobody else was told of that error
    cdef object result
    cdef bint pausing           # let the loop go once round first

    cdef int tell(self, object error, object result) except -1
    cdef int complain(self) except -1


@cython.final
cdef class AwaitedMessage(Awaited):
    cdef Kind kind
    cdef bint copy              # bytes rather than Frames
    cdef bint waiting           # it stands in `receivers`

    cdef object wait(self, bint pausing, bint drained=*)
