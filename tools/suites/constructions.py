"""Tells of every ZMQStream that is made, in all processes of the environment it is installed in.

run.py copies it to site-packages, with a .pth file that imports it as Python starts. So it is there
in processes too that have lost the environment variables of their parents, and with them our class.
"""

import json
import os
import sys

CLASSES = {"zmq.eventloop.zmqstream": "pyzmq", "zmqstream.stream": "zmqstream"}
FILE = os.path.join(sys.prefix, "constructions.jsonl")


def tell(stream_class, whose):
    green = any(base.__module__.startswith("zmq.green") for base in stream_class.__mro__)
    line = [whose, green, os.getpid(), sys.orig_argv[1:]]
    file = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")  # one write: lines of others stay whole
    finally:
        os.close(file)


def watch(stream_class, whose):
    # __new__, not __init__: no frame of ours is then between the program and what warns of it
    new = stream_class.__new__

    def __new__(cls, *args, **kwargs):
        tell(cls, whose)
        return new(cls) if new is object.__new__ else new(cls, *args, **kwargs)

    stream_class.__new__ = __new__


class Loader:
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        assert module.ZMQStream.__module__ == module.__name__, module.ZMQStream
        watch(module.ZMQStream, CLASSES[module.__name__])


class Finder:
    """Finds nothing itself, and follows the import of what the others find."""

    @classmethod
    def find_spec(cls, fullname, path, target=None):
        if fullname not in CLASSES:
            return None
        for finder in sys.meta_path[sys.meta_path.index(cls) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = Loader(spec.loader)
                return spec
        return None


sys.meta_path.insert(0, Finder)
