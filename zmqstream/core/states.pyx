# The states of a source and of its way out, and every change of either.
#
# State: what is to be done for the source, and how it is noticed.
#
#   from            to       when
#   CLOSED          IDLE     it is opened
#   IDLE ARMED      READY    a poll, a sweep or the clock says so, or the user gives it something to do
#   READY           READY    its turn ended, and there is more to do
#   READY ARMED     ARMED    an operation ended, and ZMQ_EVENTS showed nothing of interest
#   READY ARMED     IDLE     likewise, and nothing is of interest; or its loop was closed
#   any             CLOSED   it is closed
#   any but CLOSED  FORKED   in the child process, after fork
#
# WriteState: whether libzmq takes the oldest message.
#
#   from            to       when
#   TO_TRY          REFUSED  libzmq refuses it with EAGAIN
#   REFUSED         POLLED   ZMQ_EVENTS shows POLLOUT all the same, for the third time
#   REFUSED POLLED  TO_TRY   a turn or a flush begins

cdef enum:
    FALSE_POLLOUTS = 3  # so many POLLOUTs in a row that a refusal followed: POLLOUT means nothing


cdef inline void become(Source self, State state) noexcept:
    """The only place where `state` changes."""
    zs_count(ZS_SOURCES + <int> self.state, -1)
    zs_count(ZS_SOURCES + <int> state, 1)
    self.state = state


cdef inline void become_writable(Stream self, WriteState state) noexcept:
    """The only place where `write` changes."""
    self.write = state


cdef int refused(Stream self) noexcept:
    """libzmq refuses the oldest message: POLLOUT will tell when there is room."""
    become_writable(self, REFUSED)
    return 0


cdef int shows_pollout(Stream self) noexcept:
    """ZMQ_EVENTS shows POLLOUT. After a refusal that proves nothing the third time.

    STREAM sockets, and PUBs with XPUB_NODROP, show it while they refuse every message.
    """
    if self.write == REFUSED:
        self.false_pollouts += 1
        if self.false_pollouts >= FALSE_POLLOUTS:
            become_writable(self, POLLED)
    return 0
