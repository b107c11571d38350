# What a program gives to be sent: checked, joined where it comes in parts, and queued.

cdef class Sender(Flow):
    # -- the public face: sending ---------------------------------------------------------------

    def send_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, *, timeout=None,
        **kwargs
    ):
        """Queue a message; the loop hands it to libzmq as soon as that takes it.

        May be called from any thread. What is sent is what was given: changing the list or, with
        `copy`, a buffer afterwards changes nothing.

        Parameters
        ----------
        msg : list
            Of frames: bytes, other bytes-like objects, `zmq.Frame`.
        flags : int
            Flags of zmq_msg_send(), as zmq.SNDMORE; DONTWAIT is always set.
        copy : bool
            False: libzmq uses the memory of frames of at least `socket.copy_threshold` bytes, which
            must not change until they are sent.
        track : bool
            With `copy=False`: the status given to the callback is a `zmq.MessageTracker`.
        callback : callable, optional
            Called as `callback(msg, status)` for this message, instead of that of on_send().
        timeout : float, optional
            Seconds. A message that could not be handed to libzmq by then leaves the queue, and its
            outcome is a MessageExpired. It holds up no other by that.

        Raises
        ------
        TypeError
            A frame cannot be sent: the message says which, and nothing of it is queued.
        ValueError
            There is no frame, `track` is asked for a `zmq.Frame` made without, or `timeout` is not more
            than 0.
        zmq.Again
            The queue is full, and set_write_buffer_limits() was given the policy "raise".
        OSError, RuntimeError
            As for on_recv().
        """
        if kwargs:
            warn_of_unknown(kwargs)
        self.queue_message(msg, flags, copy, track, callback, timeout)

    def send(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, *, timeout=None,
        **kwargs
    ):
        """Queue a message of one frame, `msg`. See send_multipart()."""
        if not self.own_send:
            if timeout is not None:
                kwargs["timeout"] = timeout
            return self.send_multipart(
                [msg], flags=flags, copy=copy, track=track, callback=callback, **kwargs)
        if kwargs:
            warn_of_unknown(kwargs)
        if (
            copy and not track and callback is None and timeout is None
            and PyBytes_CheckExact(<PyObject *> msg)
        ):
            self.check_usable()
            self.enqueue_frames(msg, flags, None)
        else:
            self.queue_message((msg,), flags, copy, track, callback, timeout)

    cdef int queue_message(
        self, object msg, int flags, bint copy, bint track, object callback, object timeout
    ) except -1:
        cdef SendExtra extra = None
        cdef list trackers
        cdef object frames, tracker
        cdef int64_t deadline
        self.check_usable()
        if (
            self.parts is None and type(msg) is list and PyList_GET_SIZE(<PyObject *> msg) == 1
            and copy and not track and callback is None and timeout is None
            and PyBytes_CheckExact(PyList_GET_ITEM(<PyObject *> msg, 0))
        ):
            return self.enqueue_frames(<object> PyList_GET_ITEM(<PyObject *> msg, 0), flags, None)
        check_callback(callback, "send")
        deadline = deadline_of(timeout, "send")
        trackers = []
        frames = snapshot(msg, self.sock, copy, track, trackers)
        tracker = tracker_of(trackers) if trackers else None
        if callback is not None or tracker is not None or deadline:
            extra = SendExtra(callback, context_for(callback), tracker, deadline)
        self.check_usable()  # again: the snapshot may have run user code, and other threads
        return self.enqueue_frames(frames, flags, extra)

    cdef int enqueue_parts(self, object frames, int flags, SendExtra extra) except -1:
        """A message that comes in several sends: one item, when its last part is there.

        As items of their own they could be parted: by a peer that refuses one, by an error.
        """
        if self.parts is None:
            self.parts = []
            self.part_extras = []
        self.parts.extend(frames if type(frames) is tuple else (frames,))
        if extra is not None:
            self.part_extras.append(extra)
        if flags & SNDMORE:
            return 0
        frames = tuple(self.parts) if len(self.parts) > 1 else self.parts[0]
        extra = join_extras(self.part_extras)
        self.parts = self.part_extras = None
        return self.enqueue_frames(frames, flags, extra)

    cdef int enqueue_frames(self, object frames, int flags, SendExtra extra) except -1:
        cdef Py_ssize_t size
        if flags & SNDMORE or self.parts is not None:
            return self.enqueue_parts(frames, flags, extra)
        size = size_of(<PyObject *> frames)
        if self.out.policy != WAIT and self.out.is_full(size):
            if not self.make_room(frames, size, extra):
                return 0
            self.check_usable()  # again: where a drop is logged anything may run
        if extra is not None and extra.deadline:
            self.watch_deadline(extra)
        self.enqueue_item(frames, size, flags, extra)
        if self.out.queued > self.out.high or self.out.queued_bytes > self.out.high_bytes:
            self.out.over = True
        return 0

    cdef inline int enqueue_item(
        self, object frames, Py_ssize_t size, int flags, SendExtra extra
    ) except -1:
        cdef State before
        self.out.queue.push(frames, size, flags, extra)
        self.out.queued += 1
        self.out.queued_bytes += size
        self.out.peak_queued = max(self.out.peak_queued, self.out.queued)
        if self.state != READY:
            before = self.state
            try:
                self.reactor.enqueue(self)
            except BaseException:
                # The loop could not be woken: what raises has sent nothing, and the next one tries.
                if self.out.queue.take_back(frames):
                    self.out.removed(size)
                if self.state == READY:  # and not closed meanwhile, by another thread
                    self.reactor.unlink(self)
                    self.become(before)
                raise
        zs_count(ZS_QUEUED, 1)
        return 0

    def sending(self):
        """Whether messages wait to be handed to libzmq."""
        return self.out.queue.count > 0 or self.out.parked_count > 0


cdef SendExtra join_extras(list extras):
    """Of a message that came in parts: every callback that came with one is told of the message.

    It expires with the first of them.
    """
    cdef SendExtra each, first = None, last = None
    cdef list trackers = []
    cdef int64_t deadline = 0
    if not extras:
        return None
    for each in extras:
        if each.deadline and (deadline == 0 or each.deadline < deadline):
            deadline = each.deadline
        if each.tracker is not None:
            trackers.append(each.tracker)
        if each.callback is not None:
            if first is None:
                first = each
            else:
                last.further = each
            last = each
    if first is None:
        first = SendExtra(None, None, None, 0)
    first.tracker = tracker_of(trackers)
    first.deadline = deadline
    return first


cdef int warn_of_unknown(dict kwargs) except -1:
    warnings.warn(
        f"ignored by ZMQStream, as by pyzmq's: {', '.join(kwargs)}", RuntimeWarning, stacklevel=2)
    return 0
