"""The suites that are run, and their versions."""

from __future__ import annotations

from dataclasses import dataclass, field

# The requirements that all suites share
PLATFORM = ("pyzmq==27.3.0", "tornado==6.6.1")
TOOLS = ("pytest==9.2.0", "pytest-asyncio==1.5.0", "pytest-timeout==2.4.0")
JUPYTER = (
    "ipykernel==7.4.0",
    "ipython==9.18.1",
    "jupyter_client==8.10.0",
    "jupyter_core==5.9.1",
    "traitlets==5.16.1",
)


@dataclass(frozen=True)
class Suite:
    """The tests of a released package."""

    name: str
    sdist: str  # it contains the tests
    files: tuple[str, ...]  # the files of the sdist that the tests need, without the package
    arguments: tuple[str, ...]  # for pytest; empty: it uses no streams
    needs: tuple[str, ...]  # requirements beside PLATFORM and TOOLS
    asyncio: tuple[str, ...] = ()  # for pytest with --asyncio; empty: it does not use zmq.asyncio
    # the tests that contradict what zmqstream promises, and the reasons
    deviations: dict[str, str] = field(default_factory=dict)
    timeout: int = 120  # seconds a test
    limit: int = 1800  # seconds a run


SUITES = (
    Suite(
        name="pyzmq",
        sdist="pyzmq==27.3.0",
        files=("tests", "pytest.ini"),
        arguments=("tests/test_zmqstream.py", "tests/test_ioloop.py", "tests/test_auth.py"),
        asyncio=("tests/test_asyncio.py", "tests/test_auth.py", "tests/test_monitor.py",
                 "tests/test_future.py", "tests/test_socket.py", "tests/test_context.py",
                 "tests/test_zmqstream.py"),
        needs=(),
    ),
    Suite(
        name="ipykernel",
        sdist="ipykernel==7.4.0",
        files=("tests", "pyproject.toml"),
        arguments=("tests",),
        needs=(*JUPYTER, "flaky==3.8.1", "ipyparallel==9.2.0", "matplotlib==3.11.2",
               "psutil==7.2.2", "pytest-cov==7.1.0", "trio==0.35.0"),
    ),
    Suite(
        name="jupyter_client",
        sdist="jupyter_client==8.10.0",
        files=("tests", "pyproject.toml"),
        arguments=("tests",),
        asyncio=("tests",),
        needs=(*JUPYTER, "pytest-jupyter[client]==0.11.0", "anyio==4.16.0", "msgpack==1.2.4"),
    ),
    Suite(
        name="ipyparallel",
        sdist="ipyparallel==9.2.0",
        files=("pyproject.toml",),
        arguments=("--pyargs", "ipyparallel.tests"),
        needs=(*JUPYTER, "ipyparallel==9.2.0", "ipython[test]==9.18.1", "testpath==0.6.0"),
        limit=3600,
    ),
    Suite(
        name="jupyter_server",
        sdist="jupyter_server==2.21.1",
        files=("tests", "pyproject.toml"),
        # the tests themselves cause Tornado's warning
        arguments=("tests/services/kernels", "tests/services/sessions",
                   "-W", "ignore:The method, uri, and version:DeprecationWarning"),
        asyncio=("tests/services/kernels",
                 "-W", "ignore:The method, uri, and version:DeprecationWarning"),
        needs=(*JUPYTER, "jupyter_server==2.21.1", "pytest-jupyter[server]==0.11.0",
               "pytest-console-scripts==1.4.1", "requests==2.34.2", "flaky==3.8.1"),
    ),
    Suite(
        name="circus",
        sdist="circus==0.18.0",  # the last release that contains its tests
        files=("pyproject.toml",),
        arguments=("--pyargs", "circus.tests"),
        needs=("circus==0.18.0", "mock", "pyyaml"),
    ),
    Suite(
        name="nbclient",
        sdist="nbclient==0.11.0",
        files=("tests", "pyproject.toml"),
        arguments=("tests",),
        asyncio=("tests",),
        needs=(*JUPYTER, "nbclient==0.11.0", "flaky==3.8.1", "ipywidgets", "nbconvert",
               "pytest-cov==7.1.0", "testpath==0.6.0", "xmltodict"),
    ),
    Suite(
        name="callosum",  # a library of remote calls
        sdist="callosum==1.0.3",
        files=("tests", "pyproject.toml"),
        arguments=(),
        asyncio=("tests",),
        needs=("callosum[zeromq]==1.0.3", "pytest-mock", "click"),
    ),
)  # fmt: skip
