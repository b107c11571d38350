# The way out: from the outbox to libzmq, and the report of each message's outcome.

cdef enum:
    PARK_MESSAGES = 1024  # the most to park in a turn: 0.1 us each, more if libzmq refuses them first
    RETRY_PEERS = 32      # the most peers to retry in a turn


cdef enum Attempt:        # what happened to the oldest message
    HANDLED               # it has left the outbox
    NO_ROOM               # libzmq refuses it for now
    INTERRUPTED           # a signal came, and its handler has run: look again
    SOCKET_ENDED


cdef inline int hand_over(Stream self, PyObject *frames, int flags) noexcept:
    """Hand a message to libzmq, all of it or nothing. No other function does.

    Returns 0, or libzmq's error code. EAGAIN: there is no room. EINTR: a signal came first.
    """
    cdef void *handle = self.handle()
    if handle is NULL:
        return ENOTSOCK
    return message_out(handle, self.socket_type, frames, flags)


cdef inline int hand_over_now(Stream self, PyObject *frames, int flags) noexcept:
    """hand_over() of a message that has not waited for room yet.

    libzmq looks for new room at most once in a millisecond. In that time a fast sender fills the pipe,
    which the peer empties meanwhile.
    """
    cdef int code = hand_over(self, frames, flags)
    if code != EAGAIN:
        return code
    process_mailbox(self)
    return hand_over(self, frames, flags)


cdef inline int count_handed_over(Stream self, Py_ssize_t size) noexcept:
    """Libzmq has taken a message of so many bytes."""
    zs_count(ZS_SENT, 1)
    self.counts.messages_out += 1
    self.counts.bytes_out += size
    return 0


cdef bint send_queued(Stream self, Budget *budget) except -1:
    """Hand messages to libzmq, oldest first. Returns whether the budget is spent."""
    cdef Ring ring = self.out.ring
    cdef int parked = 0, attempt
    while ring.count:
        if self.out.parked_count and park_behind_others(self):
            parked += 1
        else:
            attempt = send_oldest(self, ring, budget.raising)
            if attempt == HANDLED:
                if budget_spend(budget):
                    return True
            elif attempt == SOCKET_ENDED:
                return False
            elif attempt == NO_ROOM:
                if not refuses_peer_by_peer(self):
                    refused(self)
                    return False
                self.out.park(peer_of(ring.oldest().frames))
                parked += 1
        if parked >= PARK_MESSAGES and not budget.raising:
            return True
    return False


cdef inline int send_oldest(Stream self, Ring ring, bint raising) except -1:
    """Try to hand over the oldest message of `ring`, and report its outcome. Returns an Attempt."""
    cdef Entry *entry = ring.oldest()
    cdef int code
    if entry.has_delivery and expire_oldest(self, ring, raising):
        return HANDLED
    code = hand_over(self, entry.frames, entry.flags)
    if code == EAGAIN:
        return NO_ROOM
    if code == EINTR:
        PyErr_CheckSignals()
        check_process(self)
        return INTERRUPTED
    self.false_pollouts = 0
    if code == 0 and not entry.has_delivery and self.send_callback is None:
        count_handed_over(self, entry.size)
        self.out.discard(ring)
        return HANDLED
    if code == ETERM or code == ENOTSOCK:
        self.on_socket_error(code)
        return SOCKET_ENDED
    report_handed_over(self, ring, code, raising)
    check_process(self)
    return HANDLED


# -- parking --------------------------------------------------------------------------------------
# A ROUTER with ROUTER_MANDATORY, or a STREAM, refuses a message to a peer that has no room, and takes
# those to others. Its POLLOUT says only that some peer has room. So a refused message is parked in a
# ring of its peer and retried in each turn. Such a stream gets turns from a timer.

cdef inline bint refuses_peer_by_peer(Stream self) noexcept:
    return self.socket_type == TYPE_ROUTER or self.socket_type == TYPE_STREAM


cdef bytes peer_of(PyObject *frames):
    """The routing id that a message begins with."""
    cdef object first
    if PyTuple_CheckExact(frames):
        frames = PyTuple_GET_ITEM(frames, 0)
    first = <object> frames
    return first if type(first) is bytes else bytes(first)


cdef bint park_behind_others(Stream self) except -1:
    """Park the oldest message if others for its peer are parked. Returns whether it did."""
    cdef bytes peer = peer_of(self.out.ring.oldest().frames)
    if peer not in self.out.parked:
        return False
    self.out.park(peer)
    return True


cdef bint send_parked(Stream self, Budget *budget) except -1:
    """Retry parked messages. Returns whether the budget is spent."""
    cdef list peers = self.out.parked_peers()
    cdef Py_ssize_t n, count = len(peers)
    cdef Ring ring
    cdef int attempt
    for n in range(min(count, <Py_ssize_t> RETRY_PEERS)):
        self.out.next_parked = peers[(n + 1) % count]
        ring = self.out.parked.get(peers[n])
        while ring is not None and ring.count:
            attempt = send_oldest(self, ring, budget.raising)
            if attempt == NO_ROOM:
                break
            if attempt == SOCKET_ENDED or self.state >= CLOSED:
                return False
            if attempt == HANDLED and budget_spend(budget):
                return True
    return False


cdef int process_mailbox(Stream self) noexcept:
    """Make libzmq notice new peers, and peers that have room again.

    When it sends, it looks for them at most once in a millisecond. Errors show in what follows.
    """
    cdef int events = 0
    cdef size_t size = sizeof(int)
    cdef void *handle = self.handle()
    if handle is not NULL:
        lib.getsockopt(handle, OPT_EVENTS, &events, &size)
    return 0


cdef Py_ssize_t last_drain(Stream self) except -1:
    """Before close: hand over what libzmq takes, and report only to awaiting senders.

    Returns how many it refused for good; what else it did not take is still queued.
    """
    cdef Py_ssize_t failed = 0
    cdef Ring ring
    cdef set full = set() if refuses_peer_by_peer(self) else None
    if self.out.queued:
        process_mailbox(self)
    if self.out.parked_count:
        for ring in list(self.out.parked.values()):
            failed += last_drain_of(self, ring, full)
    return failed + last_drain_of(self, self.out.ring, full)


cdef Py_ssize_t last_drain_of(Stream self, Ring ring, set full) except -1:
    """`full`: the peers that have refused a message, where others may take theirs; or None."""
    cdef Py_ssize_t failed = 0
    cdef object peer = None
    cdef int code
    while ring.count:
        if full is not None:
            peer = peer_of(ring.oldest().frames)
        code = EAGAIN if full and peer in full else hand_over(
            self, ring.oldest().frames, ring.oldest().flags)
        if code == EINTR:
            continue
        if code != 0:
            if code == ENOTSOCK or full is None and (code == EAGAIN or code == ETERM):
                break
            failed += 1
            if full is not None:
                full.add(peer)
        take_last(self, ring, code)
    return failed


cdef int take_last(Stream self, Ring ring, int code) except -1:
    """Take the oldest message of `ring`, which libzmq took or refused when the stream was closed."""
    cdef Delivery delivery
    if code == 0:
        count_handed_over(self, ring.oldest().size)
    else:
        zs_count(ZS_UNSENT, 1)
    delivery = ring.take_delivery()
    self.out.take(ring)
    if delivery is not None and delivery.awaited is not None:
        delivery.awaited.report(
            None if code == 0 else not_handed_over() if code == EAGAIN else zmq_error(code),
            delivery.tracker)
    return 0


cdef object not_handed_over():
    return OSError("Stream is closed: the message was not handed to libzmq")


# -- outcomes -------------------------------------------------------------------------------------
# A message leaves the outbox before its outcome is reported.

cdef int report_handed_over(Stream self, Ring ring, int code, bint raising) except -1:
    """libzmq took the oldest message of `ring`, or refused it for good with error `code`."""
    cdef Py_ssize_t size = ring.oldest().size
    cdef Delivery delivery = ring.take_delivery()
    cdef object frames = self.out.take(ring)
    if code == 0:
        count_handed_over(self, size)
    else:
        zs_count(ZS_FAILED, 1)
        self.counts.errors += 1
    return report_outcome(self, frames, delivery, None if code == 0 else zmq_error(code), raising)


cdef bint is_heard(Stream self, Delivery delivery) noexcept:
    """Whether a callback or a coroutine will receive this message's outcome."""
    return zs_load_state(&self.has_listener) or (
        delivery is not None and (delivery.callback is not None or delivery.awaited is not None))


cdef int set_listeners(Stream self, Callback send_callback, Callback err_callback) except -1:
    """Set the callbacks of on_send() and on_err()."""
    self.send_callback = send_callback
    self.err_callback = err_callback
    zs_store_state(&self.has_listener, send_callback is not None or err_callback is not None)
    return 0


cdef int report_outcome(
    Stream self, object frames, Delivery delivery, object error, bint raising
) except -1:
    """Report the outcome of a message that has left the outbox."""
    cdef bint reported
    if error is None:
        return report_to_sender(self, frames, delivery, None, False, raising)
    try:
        reported = report_error(self, error, raising)
    except BaseException:
        report_to_sender(self, frames, delivery, error, True, False)  # it has an outcome even then
        raise
    return report_to_sender(self, frames, delivery, error, reported, raising)


cdef bint report_error(Stream self, object error, bint raising) except -1:
    """Call on_err()'s callback. Returns whether there is one."""
    if self.err_callback is None:
        return False
    call_back(self, self.err_callback, (error,), raising)
    return True


cdef int report_to_sender(
    Stream self, object frames, Delivery delivery, object error, bint reported, bint raising
) except -1:
    """Report to the message's own callback or coroutine, or to on_send's callback, or else to the log.

    `reported`: on_err's callback knows of the error.
    """
    cdef object status = error
    cdef list message
    if delivery is not None:
        if delivery.awaited is not None:
            delivery.awaited.unheard = not reported
            return delivery.awaited.report(error, delivery.tracker)
        if error is None:
            status = delivery.tracker
    if self.state == CLOSED:  # by on_err's callback
        return 0
    message = list(frames) if type(frames) is tuple else [frames]
    if delivery is not None and delivery.callback is not None:
        return call_own_callbacks(self, delivery, message, status, raising)
    if self.send_callback is not None:
        return call_back(self, self.send_callback, (message, status), raising)
    if error is not None and not reported:
        _logger.error("%r: a message could not be sent: %s", self, error)
    return 0


cdef int call_own_callbacks(
    Stream self, Delivery delivery, list message, object status, bint raising
) except -1:
    """Call the callbacks of a message and of its other parts, even if one of them raises."""
    cdef object failure = None
    while delivery is not None and self.state != CLOSED:
        try:
            call_back(
                self, delivery.callback,
                (message if delivery.next_part is None else list(message), status),
                raising and failure is None)
        except BaseException as error:
            failure = error
        delivery = delivery.next_part
    if failure is not None:
        raise failure
    return 0


cdef int call_back(Stream self, Callback callback, tuple args, bint raising) except -1:
    """Call a callback other than on_recv()'s."""
    self.reactor.sweeper.epoch += 1
    return self.runner.call(callback, args, self, raising)
