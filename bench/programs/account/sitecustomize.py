"""Accounts for a program's processor time. Python imports it from PYTHONPATH as it starts.

Each thread that uses a loop, pyzmq's ZMQStream or Jupyter's sessions has an account: its processor
time so far, by owner. A clock is read only where one owner calls another, so the accounts hardly
change the time that they measure. The owners are:

    loop        asyncio's iteration, without its callbacks
    poll        its poll
    stream      ZMQStream's methods, and the callbacks that they add to the loop (add_callback)
    socket      ZMQStream's calls of pyzmq's sockets
    messages    JSON, signing and identities: jupyter_client's Session
    program     everything else, including Tornado's code between asyncio and a callback

An account also counts the loop's calls: `callbacks` is all of them, and `of streams` those that
called a ZMQStream first.

On SIGUSR2 the process sends the sum of its accounts to the socket ACCOUNT_SOCKET.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import json
import os
import selectors
import signal
import socket
import threading
from time import thread_time_ns

from jupyter_client.session import Session
from zmq.eventloop.zmqstream import ZMQStream
from zmq.sugar.socket import Socket


class Account(threading.local):
    def __init__(self):
        self.owner = "program"
        self.since = thread_time_ns()
        self.spent = collections.Counter()
        self.first = False  # whether the loop's callback has not called another owner yet
        accounts.append(self.spent)

    def change(self, owner):
        now = thread_time_ns()
        self.spent[self.owner] += now - self.since
        before, self.owner, self.since = self.owner, owner, now
        return before


accounts = []  # of all threads
account = Account()


def owned(cls, names, owner, callers=None):
    """From now on, these methods' time is `owner`'s, if one of `callers` calls them."""
    for name in names:
        function = vars(cls)[name]

        @functools.wraps(function)
        def wrapper(*args, function=function, **kwargs):
            now = account.owner
            if now == owner or (callers is not None and now not in callers):
                return function(*args, **kwargs)
            if account.first and owner == "stream":
                account.first = False
                account.spent["of streams"] += 1
            before = account.change(owner)
            try:
                return function(*args, **kwargs)
            finally:
                account.change(before)

        setattr(cls, name, wrapper)


def called_by_the_loop(function):
    def wrapper(handle):
        account.spent["callbacks"] += 1
        account.first = True
        before = account.change("program")
        try:
            return function(handle)
        finally:
            account.change(before)
            account.first = False

    return wrapper


def tell(signum, frame):
    account.change(account.owner)
    total = sum(list(accounts), collections.Counter())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(json.dumps(total).encode(), os.environ["ACCOUNT_SOCKET"])


def in_child():
    """Threads do not survive a fork, and the clock starts anew."""
    accounts[:] = [account.spent]
    account.spent.clear()
    account.since = thread_time_ns()


methods = {name for name, value in vars(ZMQStream).items() if callable(value)}
owned(ZMQStream, methods - {"_run_callback", "__init__"}, "stream")
owned(ZMQStream, ["_run_callback"], "program")
owned(Socket, ["send_multipart", "recv_multipart"], "socket", callers=["stream"])
owned(Session, ["serialize", "deserialize", "sign", "feed_identities"], "messages")
owned(asyncio.BaseEventLoop, ["_run_once"], "loop")
owned(selectors.EpollSelector, ["select"], "poll", callers=["loop"])
asyncio.Handle._run = called_by_the_loop(asyncio.Handle._run)
signal.signal(signal.SIGUSR2, tell)
os.register_at_fork(after_in_child=in_child)
