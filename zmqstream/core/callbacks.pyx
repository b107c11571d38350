# User code: what was registered, and how it is run.
#
# A callback is called in the contextvars context of its registration, or in a copy of it. What it
# raises is reported once, through the event loop. What it returns is awaited if it can be. It may
# do anything to its owner: close it, call it, replace or remove callbacks, run the loop.

cdef extern from *:
    """
    static inline int zs_is_awaitable (PyObject *o)
    {
        PyAsyncMethods *async = Py_TYPE (o)->tp_as_async;
        return async != NULL && async->am_await != NULL;
    }
    """
    bint is_awaitable "zs_is_awaitable"(object o) noexcept


class NotCallableError(TypeError, AssertionError):
    """A callback is not callable. (An AssertionError too, because that is what pyzmq raises.)"""


cdef int check_callable(object function, str where) except -1:
    if function is not None and not callable(function):
        raise NotCallableError(
            f"{where}: the callback must be callable or None, not {type(function).__name__}: {function!r}"
        )
    return 0


cdef Callback new_callback(object function, str where, bint with_owner=False):
    """The Callback of the method `where`; None for None."""
    check_callable(function, where)
    return None if function is None else Callback(f"the {where} callback", function, with_owner)


@cython.final
cdef class Callback:
    """A function of the user's, and how it is called."""

    def __cinit__(self, str what, function, bint with_owner=False):
        self.what = what
        self.function = function
        self.context = PyContext_CopyCurrent()
        self.with_owner = with_owner


@cython.final
cdef class Receiver:
    """The function that gets received messages, and how it is called."""

    def __cinit__(
        self, function, bint copy, bint with_owner=False, Py_ssize_t batch=0, Py_ssize_t max_concurrency=0
    ):
        self.function = function
        self.context = PyContext_CopyCurrent()
        self.copy = copy
        self.with_owner = with_owner
        self.batch = batch
        self.max_concurrency = max_concurrency


@cython.final
cdef class CallbackRunner:
    """Calls user code, times it, reports what it raises, and keeps its tasks."""

    cpdef int open(self, object loop, bint debug) noexcept:
        self.loop = loop
        self.debug = self.timing = debug
        return 0

    cpdef int time_for_stats(self, bint enabled) noexcept:
        self.timed_for_stats = enabled
        self.timing = enabled or self.debug
        return 0

    cpdef int call(self, Callback callback, tuple args, object owner, bint raising) except -1:
        """Call it. With `raising`, its exception goes to the caller."""
        cdef object result, failure = None
        cdef object context = callback.context.copy()  # an outer frame may have entered the original
        cdef int64_t began = zs_now() if self.timing else 0
        if callback.with_owner:
            args = (owner, *args)
        try:
            result = context.run(callback.function, *args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failure = error
        if began:
            self.account(began, callback.what, callback.function, owner)
        if failure is not None:
            if raising:
                raise failure
            return report(self.loop, callback.what, owner, callback.function, failure)
        if is_awaitable(result):
            PyContext_Enter(context)  # its task copies the context that is current
            try:
                self.returned(result, callback.function, owner)
            finally:
                PyContext_Exit(context)
        return 0

    cdef int account(self, int64_t began, str what, object function, object owner) except -1:
        """Count a callback's time since `began`. In debug mode, log a slow callback."""
        cdef int64_t took = zs_now() - began
        self.callback_ns += took
        if self.debug and took >= <double> self.loop.slow_callback_duration * 1e9:
            _logger.warning("%r: %s took %.3f s: %r", owner, what, took * 1e-9, function)
        return 0

    # -- coroutine callbacks --------------------------------------------------------------------

    cpdef int returned(self, object result, object function, object owner) except -1:
        """A callback returned `result`. If it is awaitable, start a task for it and keep the task."""
        cdef object task
        if not is_awaitable(result):
            return 0
        task = self.start(result, function, owner)
        if task is not None:
            if self.tasks is None:
                self.tasks = set()
            self.tasks.add(task)
            task.add_done_callback(functools.partial(self.task_ended, owner=owner))
        return 0

    cpdef object start(self, object result, object function, object owner):
        """A task that awaits a callback's result. If that fails, report it and return None."""
        cdef object failure
        try:
            return asyncio.ensure_future(result, loop=self.loop)
        except Exception as error:
            failure = error
        report(self.loop, "starting a coroutine callback", owner, function, failure)
        return None

    cdef inline bint is_full(self, Py_ssize_t max_concurrency) noexcept:
        """Whether max_concurrency coroutines are alive."""
        return max_concurrency > 0 and (
            self.starting + (0 if self.bounded is None else len(self.bounded)) >= max_concurrency)

    cpdef object start_bounded(self, object result, object function, object owner):
        """Like start(), for a receiver with max_concurrency."""
        cdef object task
        self.starting += 1  # an eager task runs now, and may receive
        try:
            task = self.start(result, function, owner)
        finally:
            self.starting -= 1
        if task is not None:
            if self.bounded is None:
                self.bounded = set()
            self.bounded.add(task)
        return task

    cpdef int task_ended(self, object task, object owner) except -1:
        """A task has ended: report what it raised."""
        cdef object error
        for tasks in (self.tasks, self.bounded):
            if tasks is not None:
                tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # KeyboardInterrupt and SystemExit have already left the loop
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            report(self.loop, "a coroutine callback", owner, task, error)
        return 0

    cpdef set alive(self):
        return (self.tasks or set()) | (self.bounded or set())

    cpdef int cancel_bounded(self) except -1:
        """Cancel the bounded coroutines, except the one that is running."""
        if self.bounded and not self.loop.is_closed():
            current = asyncio.current_task(self.loop)
            for task in list(self.bounded):
                if task is not current:
                    task.cancel()
        return 0
