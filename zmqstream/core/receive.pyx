# The way in: from libzmq to the callback, in a turn and in a flush.

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(
        PyObject *callable, PyObject **args, size_t nargs, PyObject *names) noexcept
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    int list_append "PyList_Append"(PyObject *list, PyObject *item) noexcept

cdef extern from *:
    """
    /* Whether nobody but us holds `o`: then it can be used again for the next message. */
    #ifdef Py_GIL_DISABLED
    #define ZS_ONLY_OURS(o) 0
    #else
    #define ZS_ONLY_OURS(o) (Py_REFCNT (o) == 1)
    #endif
    """
    bint ZS_ONLY_OURS(PyObject *o) noexcept

cdef enum:
    LARGE_FRAME = 16384    # libzmq's copy of a larger frame is let go before the callback runs

cdef enum Receipt:         # why a loop over messages ended
    NOTHING_LEFT
    MAILBOX_EMPTY          # nothing left, by a receive that has looked at the whole mailbox
    BUDGET_SPENT
    LOOK_AROUND            # `changes` grew


cdef inline bint full(Stream self) noexcept:
    """Whether as many coroutines of on_recv's callback are alive as may be."""
    return (
        self.max_alive > 0
        and self.starting + (0 if self.alive is None else len(self.alive)) >= self.max_alive
    )


cdef int rest(Stream self, bint drained) except -1:
    """Be ready, armed or idle."""
    if drained and self.out.queue.count == 0 and not self.untold:
        # The last libzmq call was a receive that found nothing. Before it says so,
        # zmq_msg_recv(DONTWAIT) processes the whole mailbox, as a look at EVENTS does.
        self.checked = self.reactor.epoch
        self.become(ARMED if self.wanted() else IDLE)
        return self.reactor.unlink(self)
    Source.settle(self)
    if self.untold and self.state != CLOSED:
        self.reactor.enqueue_later(self)  # dropped in a callback that no turn has called, or cut
    elif self.state == ARMED and self.out.queue.count and not self.blocked:
        # POLLOUT does not tell what would fail: of a REQ or REP out of turn, to no peer of a
        # ROUTER. What a flush's limit or an exception left is tried, and learns its outcome.
        self.reactor.enqueue_later(self)
    return 0


# -- a turn ---------------------------------------------------------------------------------


cdef int receive_turn(Stream self, Budget *budget) except -1:
    """Receive, in the context that on_recv() was called in."""
    cdef object context
    cdef int result = LOOK_AROUND
    while result == LOOK_AROUND and self.recv_callback is not None and not full(self):
        context = self.recv_context
        if self.running > 1:
            context = context.copy()  # the loop runs inside our callback: it is entered
        PyContext_Enter(context)
        try:
            result = receive_batches(self, budget) if self.recv_batch else receive_loop(self, budget)
        finally:
            PyContext_Exit(context)
    return result


cdef int receive_loop(Stream self, Budget *budget) except -1:
    """The way in, as long as nothing changes. Returns a Receipt."""
    cdef zmq_msg_t msg
    cdef void *handle
    cdef int size, changes = self.changes, generation = fork_generation
    cdef bint copy = self.recv_copy
    cdef object callback = self.recv_callback
    cdef object message = None
    cdef Socket sock = self.sock   # as long as `changes` does not grow
    cdef Socket origin = self.origin
    cdef PyObject *args[3]         # the first is room for a bound method's self
    cdef Py_ssize_t last = 1       # where the message goes
    cdef PyObject *frame
    cdef PyObject *single = NULL   # a list of one frame, used again if nobody kept it
    cdef PyObject *result = NULL
    cdef int64_t began = 0
    if self.recv_stream:
        args[1] = <PyObject *> self
        last = 2
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while True:
            handle = sock.handle
            if handle is NULL or origin.handle is NULL:
                self.failed(ENOTSOCK)
                return NOTHING_LEFT
            size = lib.msg_recv(&msg, handle, DONTWAIT)
            if size < 0:
                return receive_failed(self, lib.last_error())
            zs_count(ZS_RECEIVED, 1)
            self.messages_in += 1

            if copy and not lib.msg_more(&msg):
                frame = new_bytes(
                    <char *> lib.msg_data(&msg), size if size < INT_MAX else lib.msg_size(&msg))
                if frame is NULL:
                    zs_count(ZS_GIVEN_UP, 1)
                    report_pending(self.reactor.loop, "receiving", self, None)
                    return BUDGET_SPENT
                if single is NULL:
                    single = new_list(1)
                    if single is NULL:
                        zs_count(ZS_GIVEN_UP, 1)
                        Py_XDECREF(frame)
                        report_pending(self.reactor.loop, "receiving", self, None)
                        return BUDGET_SPENT
                self.bytes_in += PyBytes_GET_SIZE(<object> frame)
                replace_only_item(single, frame)
                args[last] = single
            else:
                message = receive_rest(self, handle, &msg, size, copy)
                if message is None:
                    zs_count(ZS_GIVEN_UP, 1)
                    return BUDGET_SPENT
                args[last] = <PyObject *> message
            if (size if message is None else <int> lib.msg_size(&msg)) > LARGE_FRAME:
                lib.msg_close(&msg)
                lib.msg_init(&msg)

            # for each one: a callback may flush another stream, and the next touch its socket
            self.reactor.epoch += 1
            zs_count(ZS_DELIVERED, 1)
            if self.timing:
                began = zs_now()
            result = PyObject_Vectorcall(
                <PyObject *> callback, &args[1], last | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
            if message is not None:
                message = None
            if single is not NULL:
                if ZS_ONLY_OURS(single) and PyList_GET_SIZE(single) == 1:
                    replace_only_item(single, new_none())  # a message ends with its callback
                else:
                    Py_XDECREF(single)
                    single = NULL
            if result is NULL:
                report_pending(self.reactor.loop, "the on_recv callback", self, callback)
            if began:
                account(self, began, "the on_recv callback", callback)
                began = 0
            if result is not NULL:
                if result is not <PyObject *> None:
                    received(self, <object> result, callback)
                Py_XDECREF(result)
                result = NULL
            if generation != fork_generation:
                self.reactor.check()

            if self.max_alive and full(self):
                return LOOK_AROUND
            if self.changes != changes:
                return BUDGET_SPENT if spent(budget) else LOOK_AROUND
            if self.out.queue.count and not self.blocked and send_queued(self, budget):
                return BUDGET_SPENT
            if self.changes != changes:
                return BUDGET_SPENT if spent(budget) else LOOK_AROUND
            if spent(budget):
                return BUDGET_SPENT
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
        Py_XDECREF(single)
        Py_XDECREF(result)


cdef int receive_batches(Stream self, Budget *budget) except -1:
    """As receive_loop(), with lists of messages."""
    cdef int changes = self.changes, receipt
    cdef object callback = self.recv_callback, result, failure
    cdef list batch
    cdef int64_t began
    while True:
        batch = []
        receipt = fill(self, batch, budget)
        if not batch:
            return receipt
        self.reactor.epoch += 1
        zs_count(ZS_DELIVERED, len(batch))
        began = zs_now() if self.timing else 0
        result = failure = None
        try:
            result = callback(batch)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failure = error
        batch = None
        if failure is not None:
            report(self.reactor.loop, "the on_recv_batch callback", self, callback, failure)
            failure = None
        if began:
            account(self, began, "the on_recv_batch callback", callback)
        if result is not None:
            received(self, result, callback)
        self.reactor.check_process()
        if self.changes == changes and not full(self):
            if self.out.queue.count and not self.blocked and send_queued(self, budget):
                return BUDGET_SPENT
        if receipt == BUDGET_SPENT:
            return BUDGET_SPENT
        if self.changes != changes or full(self):
            return LOOK_AROUND
        # Once more also if nothing was left: to find nothing costs less than a look at EVENTS.


cdef int fill(Stream self, list batch, Budget *budget) except -1:
    """Receive messages into `batch`. Returns a Receipt: LOOK_AROUND if it is full.

    No error is met, and no signal, while it has messages: they are delivered first. If memory is
    short, one message is given up, and not those that came before it.
    """
    cdef zmq_msg_t msg
    cdef void *handle
    cdef int size, code, kept
    cdef bint copy = self.recv_copy
    cdef Py_ssize_t limit = self.recv_batch
    cdef PyObject *frame
    cdef PyObject *single
    cdef list message
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while len(batch) < limit:
            handle = self.handle()
            if handle is NULL:
                if batch:
                    return BUDGET_SPENT
                self.failed(ENOTSOCK)
                return NOTHING_LEFT
            size = lib.msg_recv(&msg, handle, DONTWAIT)
            if size < 0:
                code = lib.last_error()
                if code != EAGAIN and batch:
                    return BUDGET_SPENT
                return receive_failed(self, code)
            zs_count(ZS_RECEIVED, 1)
            self.messages_in += 1
            if copy and size < INT_MAX and not lib.msg_more(&msg):
                frame = new_bytes(<char *> lib.msg_data(&msg), size)
                single = NULL if frame is NULL else new_list(1)
                if single is NULL:
                    zs_count(ZS_GIVEN_UP, 1)
                    Py_XDECREF(frame)
                    report_pending(self.reactor.loop, "receiving", self, None)
                    return BUDGET_SPENT
                self.bytes_in += size
                PyList_SET_ITEM(single, 0, frame)
                kept = list_append(<PyObject *> batch, single)
                Py_XDECREF(single)
            else:
                message = receive_rest(self, handle, &msg, size, copy)
                if message is None:
                    zs_count(ZS_GIVEN_UP, 1)
                    return BUDGET_SPENT
                kept = list_append(<PyObject *> batch, <PyObject *> message)
            if kept < 0:
                zs_count(ZS_GIVEN_UP, 1)
                report_pending(self.reactor.loop, "receiving", self, None)
                return BUDGET_SPENT
            if size > LARGE_FRAME:
                lib.msg_close(&msg)
                lib.msg_init(&msg)
            if spent(budget):
                return BUDGET_SPENT
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
    return LOOK_AROUND


cdef int received(Stream self, object result, object callback) except -1:
    """A receive callback returned something: count it if coroutines are bounded."""
    cdef object task
    if self.max_alive == 0 or not is_awaitable(result):
        return returned(self, result, callback)
    self.starting += 1  # an eager task runs here, and may flush
    try:
        task = start(self, result, callback)
    finally:
        self.starting -= 1
    if task is not None:
        if self.alive is None:
            self.alive = set()
        self.alive.add(task)
        task.add_done_callback(self._alive_done)
    return 0


cdef object receive_rest(Stream self, void *handle, zmq_msg_t *msg, int size, bint copy):
    """The message that begins in `msg`; None if it had to be given up, which was reported."""
    try:
        return message_in(handle, msg, size, copy, &self.bytes_in)
    except BaseException as error:
        report(self.reactor.loop, "receiving", self, None, error)
    return None


cdef int receive_failed(Stream self, int code) except -1:
    """zmq_msg_recv() had no message. Returns a Receipt."""
    if code == EAGAIN:
        self.input_due = False
        return MAILBOX_EMPTY
    if code == EINTR:
        PyErr_CheckSignals()
        self.reactor.check()
        return BUDGET_SPENT  # try again
    self.input_due = False
    # Not now (a REQ before its request was sent), or never (a PUSH): a look at EVENTS, which
    # settle() takes, says the same without an error.
    if code != EFSM and code != ENOTSUP:
        self.failed(code)
    return NOTHING_LEFT


# -- in a flush -----------------------------------------------------------------------------


cdef int flush_loop(Stream self, int flag, Budget *budget) except -1:
    cdef bint receive = (flag & POLLIN) != 0
    cdef bint receiver = self.recv_callback is not None
    cdef Budget one = budget[0]
    cdef int before = -1
    cdef object registered = None, context = None
    cdef bint drained = False
    if flag & POLLOUT and self.untold:
        one.left = INT_MAX  # they are in no queue: no messages that are handled
        tell_untold(self, &one)
    try:
        while budget.left > 0 and budget.left != before and self.state != CLOSED:
            before = budget.left
            # Without a receiver messages are dropped, but not those that its callback left behind
            # when it said on_recv(None).
            # Nor those that a coroutine waits for.
            if receive and not full(self) and not self.receivers and (
                self.recv_callback is not None or not receiver
            ):
                if self.recv_callback is not None and self.recv_context is not registered:
                    if context is not None:
                        PyContext_Exit(context)
                        context = None
                    registered = self.recv_context
                    # inside our callback it is entered already
                    context = enter(registered.copy() if self.running > 1 else registered)
                budget.left -= 1  # also if its callback raises
                receive = flush_receive(self, &drained)
                if not receive:
                    budget.left += 1
            if (
                flag & POLLOUT and budget.left > 0 and self.state != CLOSED
                and self.out.queue.count and not self.blocked
            ):
                one.left = 1
                drained = False
                try:
                    send_queued(self, &one)
                except BaseException:
                    budget.left -= 1
                    raise
                budget.left -= 1 - one.left
    finally:
        if context is not None:
            PyContext_Exit(context)
    return drained


cdef bint flush_receive(Stream self, bint *drained) except -1:
    """Receive a message, and drop it if nobody wants it. Returns whether there was one."""
    cdef zmq_msg_t msg
    cdef int size, receipt
    cdef object callback = self.recv_callback
    cdef object message, result
    cdef int64_t began
    cdef void *handle = self.handle()
    if handle is NULL:
        self.failed(ENOTSOCK)
        return False
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while True:
            size = lib.msg_recv(&msg, handle, DONTWAIT)
            if size >= 0:
                break
            receipt = receive_failed(self, lib.last_error())
            if receipt != BUDGET_SPENT:
                drained[0] = receipt == MAILBOX_EMPTY
                return False
        zs_count(ZS_RECEIVED, 1)
        zs_count(ZS_GIVEN_UP, 1)  # until it is there
        self.messages_in += 1
        message = message_in(handle, &msg, size, self.recv_copy, &self.bytes_in)
        zs_count(ZS_GIVEN_UP, -1)
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
    zs_count(ZS_DROPPED if callback is None else ZS_DELIVERED, 1)
    if callback is not None:
        self.reactor.epoch += 1
        began = zs_now() if self.timing else 0
        if self.recv_batch:
            message = [message]
        result = callback(self, message) if self.recv_stream else callback(message)
        if began:
            account(self, began, "the on_recv callback", callback)
        received(self, result, callback)
        self.reactor.check_process()
    return True
