# Coroutines that wait, and how they take turns with the rest of the event loop.
#
# - What is there is had without the loop; but after each turn's worth of that, the loop goes round
#   once.
# - A receiver that finds no message stands in `receivers`, in order. The first of them is woken when
#   there is a message, and receives when it runs. The next one is woken in the stream's next turn.
#   So no message is ever held for a coroutine that may be cancelled.


@cython.final
cdef class Waiters:
    """Those that wait for a message, in order; for room; for an empty queue."""

    def __cinit__(self):
        self.receivers = deque()
        self.room_waiters = []
        self.empty_waiters = []
        self.pollers = []
        self.closing_tasks = set()

    cpdef AwaitedMessage first(self):
        """The receiver whose turn it is; None: nobody waits."""
        return self.receivers[0] if self.receivers else None

    cpdef int join(self, AwaitedMessage receiver) except -1:
        if not receiver.waiting:
            self.receivers.append(receiver)
            receiver.waiting = True
        return 0

    cpdef int leave(self, AwaitedMessage receiver) except -1:
        """`receiver` waits no longer. Whoever is first then is to be woken."""
        cdef bint first = self.first() is receiver
        receiver.waiting = False
        if receiver in self.receivers:
            self.receivers.remove(receiver)
        if first:
            self.wants_message = len(self.receivers) > 0
        return 0

    cdef int count_polled(self) except -1:
        """A poller came or went."""
        self.poll_mask = 0
        for poller in self.pollers:
            self.poll_mask |= (<PollWaiter> poller).mask
        return 0


cdef Waiters waiters_of(Stream self):
    """A stream's, which has none before it is awaited."""
    if self.waiters is None:
        with cython.critical_section(self):  # another thread may look for them: see _waiting()
            self.waiters = Waiters()
        start_fairness(self)
    return self.waiters


cdef int wake_receiver(Stream self) except -1:
    """Wake the receiver whose turn it is: it wants no events any more, but runs.

    A receiver that no task awaits is not woken: the next turn receives for it.
    """
    cdef AwaitedMessage first = self.waiters.first()
    if first.future is not None:
        self.waiters.wants_message = False
        self.reactor.wake_future(first.future)
    return 0


cdef int wake_futures(Stream self, list futures) except -1:
    """Wake the coroutines that wait for `futures`, and empty the list."""
    while futures:
        self.reactor.wake_future(futures[0])
        del futures[0]  # no sooner: an exception must leave no coroutine asleep
    return 0


cdef int wake_receivers(Stream self) except -1:
    """Wake all coroutines that wait for a message: there will be none."""
    cdef AwaitedMessage receiver
    cdef Waiters waiters = self.waiters
    waiters.wants_message = False
    while waiters.receivers:
        receiver = waiters.receivers[0]
        if receiver.future is not None:
            self.reactor.wake_future(receiver.future)
        waiters.receivers.popleft()  # not before: wake_future() may raise
    return 0


cdef int wake_all(Stream self) except -1:
    """The stream has been closed: let all coroutines go on, and see that."""
    if self.waiters is not None:
        end_socket_waiters(self)
        wake_receivers(self)
        wake_futures(self, self.waiters.room_waiters)
        wake_futures(self, self.waiters.empty_waiters)
    return 0


# -- fairness: half a turn's worth, and another half if the loop has not gone round meanwhile --------

cdef int start_fairness(Stream self) except -1:
    budget_start(&self.waiters.fairness, max(1, self.turn_messages // 2), self.turn_ns // 2, zs_now())
    return 0


cdef bint must_yield(Stream self) except -1:
    """Fairness is spent. Returns whether the loop must go round before the coroutine goes on.

    The loop may have gone round many times since it began, and this may be the first message for a
    minute. So the loop is asked to say so, and only the second half decides.
    """
    start_fairness(self)
    if self.waiters.must_yield:
        return True
    self.reactor.call_soon(self._loop_went_round, ())
    self.waiters.must_yield = True
    return False


cdef int check_running(Stream self) except -1:
    """Raise unless the stream's own event loop runs."""
    if not runs_here(self.reactor):
        check_usable(self)
        raise RuntimeError("a stream can only be awaited in its own event loop")
    return 0


# -- one message, for a coroutine ---------------------------------------------------------------------

cdef int check_receivable(Stream self, Kind kind) except -1:
    """Raise if no coroutine can receive."""
    if self.state >= CLOSED or self.handle() is NULL:
        if self.close_reason is not None:
            raise self.close_reason
        if kind == ITEM and self.state == CLOSED and self.reactor is not None:
            raise StopAsyncIteration
        check_usable(self)
    if self.closing:
        if kind == ITEM:
            raise StopAsyncIteration
        raise OSError("Stream is closed: aclose() has begun")
    if self.receiver is not None:
        raise RuntimeError(
            f"{self!r} has a receive callback; await its messages, or have them given to it, not both")
    if zs_free_threaded or self.runner.debug:
        check_thread(self, "recv")
    return 0


cdef object receive_one(Stream self, bint copy, bint whole, bint out_of_turn, Ending *ending):
    """A message that is there, or one frame if not `whole`; None if there is none.

    `out_of_turn`: a REQ or REP that must send first is one that has nothing yet.
    """
    cdef zmq_msg_t msg
    cdef int size
    cdef object message
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while True:
            size = receive(self, &msg)
            if size >= 0:
                break
            if size == -EAGAIN:
                ending[0] = DRAINED
                return None
            if size == -EFSM and (out_of_turn or self.out.queued):
                ending[0] = LOOK
                return None
            if size == -EINTR:
                PyErr_CheckSignals()
                check_process(self)
                continue
            if size == -ETERM or size == -ENOTSOCK:
                self.on_socket_error(-size)
                if size == -ENOTSOCK:
                    check_open(self)
            raise zmq_error(-size)
        zs_count(ZS_GIVEN_UP, 1)  # until it is whole
        message = whole_message(self, &msg, size, copy) if whole else one_frame(self, &msg, size, copy)
        zs_count(ZS_GIVEN_UP, -1)
        zs_count(ZS_DELIVERED, 1)
        return message
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)


cdef object one_frame(Stream self, zmq_msg_t *msg, int size, bint copy):
    """The frame in `msg`, of which others of its message may follow."""
    cdef bint more = lib.msg_more(msg)
    self.counts.messages_in -= more  # a message counts with its last frame
    self.counts.bytes_in += lib.msg_size(msg)
    return bytes_in(msg, size) if copy else frame_in(msg, more)


# -- what is awaited ----------------------------------------------------------------------------------

cdef AwaitedMessage awaited_message(Stream self, Kind kind, bint copy):
    cdef AwaitedMessage awaited = AwaitedMessage.__new__(AwaitedMessage)
    awaited.stream = self
    awaited.kind = kind
    awaited.copy = copy
    return awaited


cdef AwaitedLevel awaited_level(Stream self, bint empty):
    cdef AwaitedLevel awaited = AwaitedLevel.__new__(AwaitedLevel)
    awaited.stream = self
    awaited.empty = empty
    return awaited


cdef AwaitedSend send_awaited(
    Stream self, object message, int flags, bint copy, bint track, object timeout
):
    """What asend_multipart() does: hand the message over at once if it can be, or else queue it."""
    cdef AwaitedSend awaited
    cdef Delivery delivery
    cdef object frames, tracker
    cdef int64_t deadline
    cdef int code = EAGAIN
    cdef int64_t milliseconds
    cdef list trackers = []
    check_usable(self)
    check_thread(self, "asend_multipart")
    if flags & SNDMORE:
        raise ValueError("asend_multipart: flags must not have SNDMORE, as a message is sent as a whole")
    deadline = deadline_of(timeout, "asend_multipart")
    frames = only_bytes(message) if copy and not track else None
    if frames is None:
        frames = snapshot(message, self.sock, copy, track, trackers)
        check_usable(self)  # again: the snapshot may have run user code
    tracker = tracker_of(trackers) if trackers else None
    awaited = AwaitedSend.__new__(AwaitedSend)
    awaited.stream = self
    if budget_spend(&waiters_of(self).fairness):
        awaited.yielding = must_yield(self)  # before it is sent: it may fail
    if has_mail(self):
        collect_mail(self)
    if self.out.queued == 0:
        self.touch()  # before it is sent, too
        code = hand_over_now(self, <PyObject *> frames, flags)
    if code == EAGAIN and deadline == 0:
        milliseconds = socket_timeout(self, OPT_SNDTIMEO)
        awaited.limited = milliseconds >= 0
        if milliseconds > 0 or milliseconds == 0 and self.out.queued:  # whose turn comes first
            deadline = zs_now() + max(milliseconds, 1) * 1_000_000
    if code == EINTR or code == EAGAIN and (deadline or not awaited.limited):
        delivery = awaited.delivery = Delivery(None, tracker, deadline)
        delivery.awaited = awaited
        enqueue(self, frames, size_of(<PyObject *> frames), flags, delivery)
    else:
        zs_count(ZS_QUEUED, 1)
        report_sent_at_once(self, awaited, size_of(<PyObject *> frames), code, tracker)
    return awaited


cdef int report_sent_at_once(
    Stream self, AwaitedSend awaited, Py_ssize_t size, int code, object tracker
) except -1:
    """An awaited message was handed over without having been queued, or was refused for good."""
    cdef object error
    if code == 0:
        count_handed_over(self, size)
        return awaited.report(None, tracker)
    zs_count(ZS_FAILED, 1)
    error = zmq_error(code)
    awaited.report(error, None)
    if code == ETERM or code == ENOTSOCK:
        return self.on_socket_error(code)
    self.counts.errors += 1
    awaited.unheard = not report_error(self, error, False)
    return 0
