"""Two hosts and a cable: network namespaces, and a process that carries their packets.

The process delays packets, loses some, and drops all of them while the cable is pulled.

    with Network(delay=0.005, loss=0.02) as network:
        other = network.fork(1, lambda: what_to_do_there())   # like children.fork(), on a host
        one = network.fork(0, lambda: network.pull())
        one.result(), other.result()

The hosts are 10.77.0.1 and 10.77.0.2 (ADDRESSES). Needs Linux, /dev/net/tun, and root or
CAP_NET_ADMIN, but no other program and no kernel module for delays.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import mmap
import os
import random
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

from support import children

ADDRESSES = ("10.77.0.1", "10.77.0.2")

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914
IFF_UP = 0x1


class Unavailable(Exception):
    """Why hosts cannot be created here."""


def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def new_host(address):
    """Create a namespace with a network interface. Returns the descriptors of both."""
    import fcntl

    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.unshare(CLONE_NEWNET))  # affects this thread only
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = b"zmq0"
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name, IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
            packed = struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, packed)
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", name, 0))
        flags = struct.unpack_from("16sH", request)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY), tun


class Network:
    """`delay` and `jitter` are in seconds, `loss` is a part of 1; each for one direction."""

    def __init__(self, delay=0.0, jitter=0.0, loss=0.0):
        self.delay, self.jitter, self.loss = delay, jitter, loss
        self.pulled = mmap.mmap(-1, 1)  # shared by all processes
        self.namespaces, self.cables = [], []
        try:
            for address in ADDRESSES:
                # A new thread for each host, because the thread stays in the namespace.
                with ThreadPoolExecutor(1) as pool:
                    namespace, cable = pool.submit(new_host, address).result()
                self.namespaces.append(namespace)
                self.cables.append(cable)
        except (OSError, AttributeError, ImportError) as error:
            self.close_descriptors()
            raise Unavailable(f"no network namespaces with TUN devices here: {error!r}") from error
        self.carrier = children.fork(self.carry)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close_descriptors()
        if select.select([self.carrier.reader], [], [], 0)[0]:
            self.carrier.result()  # fails, because the process has ended
        else:
            self.carrier.kill()

    def close_descriptors(self):
        for fd in self.namespaces + self.cables:
            os.close(fd)

    def fork(self, host, function):
        """Fork a child on a host. The child must create its contexts itself."""

        def child():
            libc = ctypes.CDLL(None, use_errno=True)
            check(libc.setns(self.namespaces[host], CLONE_NEWNET))
            return function()

        return children.fork(child)

    def pull(self):
        """Pull the cable: all packets are lost silently."""
        self.pulled[0] = 1

    def put_back(self):
        self.pulled[0] = 0

    def carry(self):
        """Carry packets for ever."""
        chance = random.Random(1)
        others = dict(zip(self.cables, reversed(self.cables), strict=True))
        under_way, number = [], 0
        while True:
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            for cable in select.select(self.cables, [], [], wait)[0]:
                packet = os.read(cable, 1 << 16)
                if self.pulled[0] or chance.random() < self.loss:
                    continue
                number += 1
                due = time.monotonic() + self.delay + chance.random() * self.jitter
                heapq.heappush(under_way, (due, number, others[cable], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, cable, packet = heapq.heappop(under_way)
                if not self.pulled[0]:
                    # The other end is full, so the packet is lost.
                    with contextlib.suppress(OSError):
                        os.write(cable, packet)
