# A turn: what a stream does when the loop dispatches it.
#
# Receive a message, call its callback, hand over what the callback sent, and again, until libzmq has
# no more or the budget is spent. User code is called in receive_loop(), receive_batches() and
# flush_receive() (on_recv's callback), and by CallbackRunner.call() (all others). It may do anything to
# the stream: close it, flush it, replace or remove its callbacks, send, raise, close the raw socket,
# run the loop, fork. `changes` grows with each of these that a loop over messages must notice, and the
# socket's handle is looked up anew before each call of libzmq.

cdef enum:
    TURN_MESSAGES = 256    # a turn's default budget: see set_turn_limits()
    TURN_NS = 1_000_000    # and its time, ns
    STACK_RESERVE = 50     # nested Python calls that must still be possible when a callback is entered


cdef int take_turn(Stream self, Budget *budget) except -1:
    """Returns an Ending."""
    cdef Budget half
    cdef bint unfinished = False
    cdef int ending = LOOK
    if has_mail(self):
        collect_mail(self)
    if self.unreported and report_dropped(self, budget):
        return MORE
    if self.out.parked_count:
        half = budget[0]  # parked messages must not use up the whole turn
        half.left = (self.turn_messages + 1) // 2
        half.deadline = half.read_at + self.turn_ns // 2
        unfinished = send_parked(self, &half)
    if self.maybe_readable and self.receiver is not None and not receiver_is_full(self):
        ending = receive_turn(self, budget)
    elif self.waiters is not None and (self.waiters.poll_mask or self.waiters.wants_message):
        ending = serve_sockets(self, budget)
    if ending != MORE and self.out.ring.count and self.write == TO_TRY:
        ending = MORE if send_queued(self, budget) else LOOK
    return MORE if unfinished and self.out.parked_count else ending


cdef inline bint receiver_is_full(Stream self) noexcept:
    """Whether max_concurrency coroutines of the receive callback are alive."""
    return self.receiver is not None and self.runner.is_full(self.receiver.max_concurrency)


# -- what the stack allows --------------------------------------------------------------------------

cdef inline bint is_too_deep() noexcept:
    """Whether the stack may be too short for a callback. Then no message must be received."""
    return zs_stack_left() < STACK_RESERVE


cdef object too_deep(str what):
    return RecursionError(f"{what} is nested too deeply in callbacks: no message was received")


# -- what the state allows --------------------------------------------------------------------------

cdef int check_open(Stream self) except -1:
    """Raise if the stream is closed."""
    if zs_load_state(&self.state) == CLOSED:
        if self.reactor is None:
            raise RuntimeError(f"{type(self).__name__}.__init__() was not called")
        raise OSError("Stream is closed")
    check_process(self)
    if self.handle() is NULL:
        if owns(self):
            closed_directly(self)
        raise OSError("Stream is closed: its socket was closed directly")
    return 0


cdef inline int check_sendable(Stream self) except -1:
    """Like check_usable(), in any thread."""
    if not zs_free_threaded:
        return check_usable(self)
    if zs_load_state(&self.state) >= CLOSED:
        return check_open(self)
    if self.reactor.is_guest:
        self.reactor.check_loop()
    if not self.has_socket():
        if owns(self):
            return check_usable(self)
        raise OSError("Stream is closed: its socket was closed directly")
    return self.reactor.check()


cdef inline int check_usable(Stream self) except -1:
    """Like check_open(), and raise if its loop is closed."""
    if (
        self.state < CLOSED and self.handle() is not NULL
        and self.reactor.state == LOOP_OPEN and not self.reactor.is_guest
    ):
        return 0
    return check_usable_slowly(self)


cdef int check_usable_slowly(Stream self) except -1:
    if self.reactor is not None and self.reactor.current is None:
        self.reactor.check_loop()
    check_open(self)
    return self.reactor.check()


cdef Callback register(Stream self, object function, str where):
    """The Callback for what the method `where` was given; None for None."""
    check_callable(function, where)
    check_open(self)
    check_thread(self, where)
    return new_callback(function, where)
