@cython.final
cdef class SocketReceive(AwaitedMessage):
    cdef object outcome         # the ReceiveFuture that the caller has
    cdef object owner           # the socket, which must live as long as this waits
    cdef object load            # what makes the result of a message, as recv_json() needs it; or None
    cdef object buffer          # of recv_into()
    cdef Py_ssize_t size        # ...and how much of it may be used
    cdef bint awaited           # a task awaits it directly, and receives when it runs
    cdef bint yielding          # it waits only until the loop has gone round once
    cdef object sleeper         # the future of that task, since a second one awaits it; or None

    cdef bint is_served(self) noexcept
    cdef int resolve(self, object result, object error) except -1
    cdef int end(self) except -1
    cdef int wake(self) except -1
    cdef int stop(self, object reason) except -1


@cython.final
cdef class SocketSend(AwaitedSend):
    cdef object outcome         # the EndableFuture that the caller has
    cdef object owner           # the socket, which must live as long as this waits

    cdef int stop(self, object reason) except -1


@cython.final
cdef class PollWaiter:
    cdef Stream stream
    cdef int mask               # the events that it waits for
    cdef object outcome         # the EndableFuture of a socket's poll(), or None
    cdef object callback        # or, of a Poller, what is called with the events, or with an error
    cdef object owner           # the socket, which must live as long as this waits
    cdef object timer           # the TimerHandle of _on_timeout(), or None

    cdef int join(self, Stream stream) except -1
    cdef int resolve(self, int events, object error) except -1
