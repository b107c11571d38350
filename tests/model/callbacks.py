"""The callbacks, which check what a stream does, and the operations that call them."""

from __future__ import annotations

import asyncio
import contextvars

import zmq

from model.ends import ensure

registration = contextvars.ContextVar("registration", default=None)


NO_PLAN = object()  # a call returns it to not follow the plan


class Planned(Exception):
    """An exception that callbacks raise."""


class PlannedBase(BaseException):
    """An exception that callbacks raise and `except Exception` does not catch."""


class Leave(KeyboardInterrupt):
    """An exception that callbacks raise to leave the loop."""


ERRORS = {
    "Exception": Planned,
    "BaseException": PlannedBase,
    "CancelledError": type("PlannedCancel", (asyncio.CancelledError,), {}),
    "KeyboardInterrupt": Leave,
}


class Flush:
    """A running flush."""

    is_flush = True

    def __init__(self, owner, flag, limit):
        self.owner, self.flag, self.limit = owner, flag, limit
        self.blind = flag & zmq.POLLIN and owner.receiver is None and not owner.waiters
        # blind: the flush drops the messages that it receives
        self.received = self.reported = 0  # calls of callbacks
        self.plans = 0  # plans that callbacks have followed in it
        self.error = None  # the exception that its caller must get


class Closing:
    """A running close, in which the close callback runs."""

    is_flush = False
    error = None  # the exception that its caller must get


class Callback:
    """A callback of `owner`, which checks its call and then follows a plan."""

    def __init__(self, owner, what, copy=True, with_stream=False, coroutine=False, bound=None):
        self.owner, self.world, self.what = owner, owner.world, what
        self.copy, self.with_stream, self.coroutine = copy, with_stream, coroutine
        self.bound = bound  # the largest number of coroutines that may be alive
        self.batch = None  # the largest number of messages in a call
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
            # an exception that leaves the close callback also leaves aclose()
            by_task = self.what == "on_close" and not self.world.stack
            if not cancelled and not (by_task and isinstance(error, Leave)):
                self.world.will_raise(self.owner, error)
            raise error
