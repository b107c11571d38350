# A flush: what stream.flush() does, without the loop.

cdef int flush_stream(Stream self, int flag, int most) except -1:
    """Returns how many messages were handled. An exception of a callback goes to the caller."""
    cdef Budget budget
    cdef int ending = LOOK
    if is_too_deep():
        raise too_deep("flush()")
    budget_start_untimed(&budget, most)
    self.running += 1
    if self.write != TO_TRY:
        become_writable(self, TO_TRY)
    try:
        if has_mail(self):
            collect_mail(self)
        if flag & POLLOUT and self.out.queued:
            process_mailbox(self)
            if self.out.parked_count and budget.left:
                send_parked(self, &budget)
        ending = flush_loop(self, flag, &budget)
    finally:
        self.running -= 1
        if budget.left < most:
            self.changes += 1
        self.finish(<Ending> ending)
    return most - budget.left


cdef int flush_loop(Stream self, int flag, Budget *budget) except -1:
    """Receive and send alternately, until nothing is left or the budget is spent. Returns an Ending."""
    cdef bint receiving = (flag & POLLIN) != 0
    cdef bint had_receiver = self.receiver is not None
    cdef Budget one = budget[0]
    cdef int before = -1, ending = LOOK
    if flag & POLLOUT and self.unreported:
        one.left = INT_MAX  # reports of drops: these do not count as handled messages
        report_dropped(self, &one)
    while budget.left > 0 and budget.left != before and self.state < CLOSED:
        before = budget.left
        if receiving and may_flush_receive(self, had_receiver):
            budget.left -= 1  # even if its callback raises
            ending = flush_receive(self)
            if ending != MORE:
                receiving = False
                budget.left += 1
        if flag & POLLOUT and budget.left > 0 and self.out.ring.count and self.write == TO_TRY:
            ending = LOOK
            one.left = 1
            try:
                send_queued(self, &one)
            except BaseException:
                budget.left -= 1
                raise
            budget.left -= 1 - one.left
    return ending


cdef bint may_flush_receive(Stream self, bint had_receiver) noexcept:
    """Without a receiver, a flush drops messages. It keeps those that a receiver left when it called
    on_recv(None), and those that coroutines wait for."""
    if self.receiver is None:
        return not had_receiver and (self.waiters is None or self.waiters.first() is None)
    return not receiver_is_full(self)


cdef int flush_receive(Stream self) except -1:
    """Receive a message, and drop it if there is no receiver. Returns MORE, or why there was none."""
    cdef zmq_msg_t msg
    cdef Receiver receiver = self.receiver
    cdef int size, ending
    cdef list message
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        size = receive(self, &msg)
        while size == -EINTR:
            receive_failed(self, EINTR)
            size = receive(self, &msg)
        if size < 0:
            ending = receive_failed(self, -size)
            return ending
        zs_count(ZS_GIVEN_UP, 1)  # until all its frames are received
        message = whole_message(self, &msg, size, receiver is None or receiver.copy)
        zs_count(ZS_GIVEN_UP, -1)
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
    if receiver is None:
        zs_count(ZS_DROPPED, 1)
    else:
        zs_count(ZS_DELIVERED, 1)
        flush_deliver(self, receiver, message)
    return MORE


cdef int flush_deliver(Stream self, Receiver receiver, list message) except -1:
    """Call the receiver's function. Its exception goes to the caller of flush()."""
    cdef object function = receiver.function, result
    cdef object context = receiver.context
    cdef object argument = [message] if receiver.batch else message
    cdef int64_t began = zs_now() if self.runner.timing else 0
    self.reactor.sweeper.epoch += 1
    if self.running > 1:
        context = context.copy()  # it is entered already if a callback called flush()
    PyContext_Enter(context)
    try:
        result = function(self, argument) if receiver.with_owner else function(argument)
        if began:
            self.runner.account(began, "the on_recv callback", function, self)
        if result is not None:
            receiver_returned(self, result, function)
    finally:
        PyContext_Exit(context)
    return check_process(self)
