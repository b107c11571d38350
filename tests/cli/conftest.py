import pytest

from support.commands import TIMEOUT, Command


@pytest.fixture
def command():
    started = []

    def start(*arguments, **kwargs):
        started.append(Command(*arguments, **kwargs))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        for file in (each.process.stdin, each.process.stdout, each.process.stderr):
            if file is not None and not isinstance(file, int):
                file.close()


@pytest.fixture
def context(context):
    """Its sockets wait for ever for nothing."""
    context.linger = 0
    context.rcvtimeo = context.sndtimeo = TIMEOUT * 1000
    return context
