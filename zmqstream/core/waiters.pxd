@cython.final
cdef class Waiters:
    cdef readonly object receivers  # a deque of AwaitedMessages that wait, in order
    cdef readonly bint wants_message  # the first of them is to be woken when there is a message
    cdef list room_waiters      # futures of those that wait until there is room
    cdef list empty_waiters     # futures of those that wait until nothing is queued
    cdef list pollers           # PollWaiters: those that wait for events of the socket
    cdef int poll_mask          # ...for these events
    cdef set closing_tasks      # tasks in aclose(), which wait for callbacks but not for each other
    cdef Budget fairness        # what coroutines may do before the event loop must go round once
    cdef bint must_yield        # ...when this is spent again, as the loop has not gone round since

    cpdef AwaitedMessage first(self)
    cpdef int join(self, AwaitedMessage receiver) except -1
    cpdef int leave(self, AwaitedMessage receiver) except -1
    cdef int count_polled(self) except -1
