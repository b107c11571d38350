cdef enum State:
    IDLE    # no interest: no receiver, nothing to send
    ARMED   # ZMQ_EVENTS was read after the last libzmq call, and showed nothing of interest
    READY   # there may be something to do: on a ready list, or in its turn
    CLOSED  # for good
    FORKED  # in a child process: it is the parent's


cdef enum WriteState:
    TO_TRY   # libzmq has not refused the oldest message since the last turn began
    REFUSED  # it has, with EAGAIN: retry at POLLOUT
    POLLED   # it has, and POLLOUT has proved false: retry from a timer


cdef enum Ending:               # how an operation ended
    LOOK                        # ZMQ_EVENTS must be read
    DRAINED                     # its last libzmq call was a receive that found nothing
    MORE                        # its budget is spent
