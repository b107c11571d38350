# The way in: from libzmq to the callback, in a turn.

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(
        PyObject *callable, PyObject **args, size_t nargs, PyObject *names) noexcept
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    LARGE_FRAME = 16384    # libzmq's copy of a larger frame is released before the callback runs

# What a loop over messages returns is an Ending: DRAINED (libzmq has no more), MORE (the budget is
# spent), or LOOK (nothing can be received now); or else
cdef enum:
    LOOK_AROUND = 10       # `changes` grew, or the receiver is full


cdef inline int receive(Stream self, zmq_msg_t *msg) noexcept:
    """Receive a message's first frame. No other function does.

    Returns its size as zmq_msg_recv() does, cut at INT_MAX; or the negative of libzmq's error code.
    """
    cdef void *handle = self.handle()
    cdef int size
    if handle is NULL:
        return -ENOTSOCK
    size = lib.msg_recv(msg, handle, DONTWAIT)
    if size < 0:
        return -lib.last_error()
    zs_count(ZS_RECEIVED, 1)
    self.counts.messages_in += 1
    return size


cdef int receive_failed(Stream self, int code) except -1:
    """receive() had no message. Returns an Ending."""
    self.maybe_readable = False
    if code == EAGAIN:
        return DRAINED
    if code == EINTR:
        self.maybe_readable = True
        PyErr_CheckSignals()
        check_process(self)
        return MORE  # try again
    # The socket cannot receive now (a REQ before its request was sent) or never (a PUSH). finish() reads
    # ZMQ_EVENTS, which says the same without an error.
    if code != EFSM and code != ENOTSUP:
        self.on_socket_error(code)
    return LOOK


cdef list whole_message(Stream self, zmq_msg_t *msg, int size, bint copy):
    """The message whose first frame is in `msg`.

    If there is no memory for its frames, the message is lost and MemoryError is raised. The next one
    begins at its own first frame.
    """
    cdef list message
    if copy and not lib.msg_more(msg):
        message = [bytes_in(msg, size)]
        self.counts.bytes_in += PyBytes_GET_SIZE(message[0])
        return message
    return message_in(self.sock.handle, msg, size, copy, &self.counts.bytes_in)


cdef list message_or_report(Stream self, zmq_msg_t *msg, int size, bint copy):
    """Like whole_message(), for the less frequent cases. Returns None after reporting a lost message."""
    cdef object failure
    try:
        return message_in(self.sock.handle, msg, size, copy, &self.counts.bytes_in)
    except Exception as error:
        failure = error
    report_lost(self, failure)
    return None


cdef bint append_or_report(
    Stream self, list messages, zmq_msg_t *msg, int size, bint copy
) except -1:
    """Append the message whose first frame is in `msg`. Returns whether it did; a loss is reported."""
    cdef object failure
    try:
        messages.append(whole_message(self, msg, size, copy))
        return True
    except Exception as error:
        failure = error
    report_lost(self, failure)
    return False


cdef int report_lost(Stream self, object error) except -1:
    """There is no memory for a message that libzmq has handed over."""
    zs_count(ZS_GIVEN_UP, 1)
    return report(self.reactor.loop, "receiving", self, None, error)


cdef inline int release_large(zmq_msg_t *msg, int size) noexcept:
    """Release libzmq's copy of a large frame, because the callback may run for long."""
    if size > LARGE_FRAME:
        lib.msg_close(msg)
        lib.msg_init(msg)
    return 0


# -- who receives -----------------------------------------------------------------------------------

cdef int set_receiver(
    Stream self, object function, bint copy, bint with_stream, Py_ssize_t batch, object max_concurrency,
) except -1:
    """What on_recv() and its like do. `batch`: messages a call; 0: one, not in a list."""
    if max_concurrency is not None:
        if not isinstance(max_concurrency, int):
            raise TypeError(
                f"on_recv: max_concurrency must be an int, not {type(max_concurrency).__name__}")
        if max_concurrency < 1:
            raise ValueError(f"on_recv: max_concurrency must be at least 1: {max_concurrency}")
    check_usable(self)
    check_thread(self, "on_recv")
    if function is not None:
        if self.closing:
            raise OSError("Stream is closed: aclose() has begun")
        if self.waiters is not None and self.waiters.first() is not None:
            raise RuntimeError(
                f"a coroutine awaits a message of {self!r}; await its messages, or have them given to a "
                "callback, not both")
    self.changes += 1
    if function is None:
        self.receiver = None
        if self.state == ARMED and self.interest() == 0:
            become(self, IDLE)
        return 0
    self.receiver = Receiver(
        function, copy, with_stream, batch, min(max_concurrency or 0, INT_MAX))
    self.maybe_readable = True
    if self.state != READY:
        self.reactor.enqueue(self)
    return 0


# -- a turn -----------------------------------------------------------------------------------------

cdef int receive_turn(Stream self, Budget *budget) except -1:
    """Receive in the context that on_recv() was called in. Returns an Ending."""
    cdef object context
    cdef int ending = LOOK_AROUND
    while ending == LOOK_AROUND:
        check_process(self)
        if self.receiver is None or receiver_is_full(self):
            return LOOK
        context = self.receiver.context
        if self.running > 1:
            context = context.copy()  # it is entered already: the loop runs inside our callback
        PyContext_Enter(context)
        try:
            ending = receive_batches(self, budget) if self.receiver.batch else receive_loop(self, budget)
        finally:
            PyContext_Exit(context)
    return ending


cdef int receive_loop(Stream self, Budget *budget) except -1:
    """Receive and deliver until `changes` grows."""
    cdef zmq_msg_t msg
    cdef Receiver receiver = self.receiver
    cdef CallbackRunner runner = self.runner
    cdef Sweeper sweeper = self.reactor.sweeper
    cdef object function = receiver.function, message = None
    cdef int size, changes = self.changes
    cdef bint copy = receiver.copy
    cdef PyObject *args[3]         # the first is room for a bound method's self
    cdef Py_ssize_t last = 2 if receiver.with_owner else 1  # where the message goes
    cdef PyObject *frame
    cdef PyObject *single = NULL   # a list of one frame, reused if the callback did not keep it
    cdef PyObject *result = NULL
    cdef int64_t began = 0
    args[1] = <PyObject *> self
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while True:
            size = receive(self, &msg)
            if size < 0:
                return receive_failed(self, -size)

            if copy and size < INT_MAX and not lib.msg_more(&msg):
                # whole_message() for the most frequent case
                frame = new_bytes(<char *> lib.msg_data(&msg), size)
                if single is NULL and frame is not NULL:
                    single = new_list(1)
                if single is NULL or frame is NULL:
                    return give_up(self, frame)
                self.counts.bytes_in += size
                replace_only_item(single, frame)
                args[last] = single
            else:
                message = message_or_report(self, &msg, size, copy)
                if message is None:
                    return MORE
                args[last] = <PyObject *> message
                size = <int> lib.msg_size(&msg)
            release_large(&msg, size)

            # for each message: a callback may flush another stream, and the next may touch its socket
            sweeper.epoch += 1
            zs_count(ZS_DELIVERED, 1)
            if runner.timing:
                began = zs_now()
            result = PyObject_Vectorcall(
                <PyObject *> function, &args[1], last | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
            # a message is released when its callback has returned
            if message is not None:
                message = None
            if single is not NULL and zs_only_ours(single) and PyList_GET_SIZE(single) == 1:
                replace_only_item(single, new_none())
            elif single is not NULL:
                Py_DECREF(<object> single)
                single = NULL
            if result is NULL:
                report_pending(self.reactor.loop, "the on_recv callback", self, function)
            if began:
                runner.account(began, "the on_recv callback", function, self)
                began = 0
            if result is not NULL:
                if result is not <PyObject *> None:
                    receiver_returned(self, <object> result, function)
                Py_XDECREF(result)
                result = NULL

            if self.out.ring.count and self.write == TO_TRY and self.changes == changes:
                if send_queued(self, budget):
                    return MORE
            if budget_spend(budget):
                return MORE
            if self.changes != changes or (receiver.max_concurrency and receiver_is_full(self)):
                return LOOK_AROUND
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
        Py_XDECREF(single)
        Py_XDECREF(result)


cdef int give_up(Stream self, PyObject *frame) except -1:
    """There is no memory for a message of one frame, as the pending exception says."""
    Py_XDECREF(frame)
    zs_count(ZS_GIVEN_UP, 1)
    report_pending(self.reactor.loop, "receiving", self, None)
    return MORE


cdef int receiver_returned(Stream self, object result, object function) except -1:
    """A receive callback returned something."""
    cdef object task
    if self.receiver is None or self.receiver.max_concurrency == 0 or not is_awaitable(result):
        return self.runner.returned(result, function, self)
    task = self.runner.start_bounded(result, function, self)
    if task is not None:
        task.add_done_callback(self._bounded_task_done)
    return 0


# -- batches ----------------------------------------------------------------------------------------

cdef int receive_batches(Stream self, Budget *budget) except -1:
    """Like receive_loop(), with lists of messages."""
    cdef Receiver receiver = self.receiver
    cdef int changes = self.changes, ending
    cdef list batch
    while True:
        batch = []
        ending = fill_batch(self, receiver, batch, budget)
        if not batch:
            return ending
        zs_count(ZS_DELIVERED, len(batch))
        deliver_batch(self, receiver, batch)
        batch = None
        if self.changes == changes and not receiver_is_full(self):
            if self.out.ring.count and self.write == TO_TRY and send_queued(self, budget):
                return MORE
        if ending == MORE:
            return MORE
        if self.changes != changes or receiver_is_full(self):
            return LOOK_AROUND
        # Receive once more even if nothing was left: that costs less than reading ZMQ_EVENTS.


cdef int deliver_batch(Stream self, Receiver receiver, list batch) except -1:
    """Call the receiver's function with `batch`."""
    cdef object result = None, failure = None
    cdef int64_t began = zs_now() if self.runner.timing else 0
    self.reactor.sweeper.epoch += 1
    try:
        result = receiver.function(batch)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        failure = error
    if failure is not None:
        report(self.reactor.loop, "the on_recv_batch callback", self, receiver.function, failure)
    if began:
        self.runner.account(began, "the on_recv_batch callback", receiver.function, self)
    if result is not None:
        receiver_returned(self, result, receiver.function)
    return check_process(self)


cdef int fill_batch(Stream self, Receiver receiver, list batch, Budget *budget) except -1:
    """Receive messages into `batch`. Returns an Ending, or LOOK_AROUND if it is full.

    While it has messages, no error and no signal is looked at: the messages are delivered first.
    """
    cdef zmq_msg_t msg
    cdef int size
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while len(batch) < receiver.batch:
            size = receive(self, &msg)
            if size < 0:
                return MORE if size != -EAGAIN and batch else receive_failed(self, -size)
            if not append_or_report(self, batch, &msg, size, receiver.copy):
                return MORE
            release_large(&msg, size)
            if budget_spend(budget):
                return MORE
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)
    return LOOK_AROUND
