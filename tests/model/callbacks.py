"""The callbacks that check what a stream does, and what calls them."""

from __future__ import annotations

import asyncio
import contextvars

import zmq

from model.ends import ensure

registration = contextvars.ContextVar("registration", default=None)


NO_PLAN = object()  # returned for a call in which nothing planned is to be done


class Planned(Exception):
    """What callbacks raise."""


class PlannedBase(BaseException):
    """What callbacks raise, and `except Exception` does not catch."""


class Leave(KeyboardInterrupt):
    """What callbacks raise to leave the loop."""


ERRORS = {
    "Exception": Planned,
    "BaseException": PlannedBase,
    "CancelledError": type("PlannedCancel", (asyncio.CancelledError,), {}),
    "KeyboardInterrupt": Leave,
}


class Flush:
    """A flush under way."""

    is_flush = True

    def __init__(self, owner, flag, limit):
        self.owner, self.flag, self.limit = owner, flag, limit
        self.blind = flag & zmq.POLLIN and owner.receiver is None and not owner.waiters
        # blind: it drops what it receives
        self.received = self.told = 0  # callbacks
        self.plans = 0  # user code that ran in it
        self.error = None  # an exception that its caller is to get


class Closing:
    """A close under way, in which the close callback runs."""

    is_flush = False
    error = None  # an exception that its caller is to get


class Callback:
    """A callback of `owner`: checks that it is called, and how; then it follows a plan."""

    def __init__(self, owner, what, copy=True, with_stream=False, coroutine=False, bound=None):
        self.owner, self.world, self.what = owner, owner.world, what
        self.copy, self.with_stream, self.coroutine = copy, with_stream, coroutine
        self.bound = bound  # of the coroutines that are alive
        self.batch = None  # the most messages that it is called with
        self.calls = self.started = self.alive = 0

    def register(self, function, *args, **kwargs):
        token = registration.set(self)
        try:
            function(*args, **kwargs)
        finally:
            registration.reset(token)

    def __call__(self, *args):
        plan = None
        with self.world.checking():
            if self.with_stream:
                ensure(args[0] is self.owner.stream, "called with", args[0])
                args = args[1:]
            if self.world.flushing() is None and not self.world.backend.reference:
                ensure(registration.get() is self, self, "called in the context of another")
            if getattr(self.owner, self.what)(self, *args) is not NO_PLAN:
                plan = self.owner.next_plan()
        self.calls += 1
        self.world.event()
        if self.coroutine:
            self.world.scheduled += 1
            self.alive += 1
            with self.world.checking():
                ensure(not self.bound or self.alive <= self.bound, self.alive, "are alive")
            return self.body(self.calls, plan)
        try:
            return self.follow(plan)
        finally:
            self.world.event()

    async def body(self, number, plan):
        try:
            with self.world.checking():
                self.started += 1
                ensure(self.started == number, "a coroutine started out of order")
            for _ in range(1 + number % 3 if self.bound else 1):
                await asyncio.sleep(0)
            self.follow(plan)
        finally:
            self.alive -= 1
            self.world.scheduled -= 1
            self.world.event()

    def follow(self, plan):
        if plan is None:
            return
        error = None
        self.world.in_callback += 1
        for action in plan.actions:
            error = self.world.do(action)
            if error is not None:
                break
        self.world.in_callback -= 1
        if error is None and plan.error:
            error = ERRORS[plan.error]()
        if error is not None:
            self.world.note(self.owner, "raises", type(error).__name__)
            # a coroutine that raises CancelledError is cancelled
            cancelled = self.coroutine and isinstance(error, asyncio.CancelledError)
            # and who awaits aclose() is left by what leaves the close callback
            by_task = self.what == "on_close" and not self.world.stack
            if not cancelled and not (by_task and isinstance(error, Leave)):
                self.world.will_raise(self.owner, error)
            raise error
