# The states of a source and of its way out, and every change of either.
#
# State: what is to be done for the source, and how it is noticed.
#
#   from            to       when
#   CLOSED          IDLE     it is opened
#   IDLE ARMED      READY    a poll, a sweep, a timer or a call of the user finds work for it
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
    FALSE_POLLOUTS = 3  # after this many POLLOUTs followed by a refusal, POLLOUT is ignored


cdef inline void become(Source self, State state) noexcept:
    """The only place where `state` changes."""
    zs_count(ZS_SOURCES + <int> self.state, -1)
    zs_count(ZS_SOURCES + <int> state, 1)
    zs_store_state(&self.state, state)


cdef inline void become_writable(Stream self, WriteState state) noexcept:
    """The only place where `write` changes."""
    self.write = state


cdef int refused(Stream self) noexcept:
    """libzmq refuses the oldest message. Wait for POLLOUT."""
    become_writable(self, REFUSED)
    return 0


cdef int shows_pollout(Stream self) noexcept:
    """ZMQ_EVENTS shows POLLOUT. If refusals followed it three times, it proves nothing.

    STREAM sockets, and PUBs with XPUB_NODROP, show it while they refuse every message.
    """
    if self.write == REFUSED:
        self.false_pollouts += 1
        if self.false_pollouts >= FALSE_POLLOUTS:
            become_writable(self, POLLED)
    return 0
