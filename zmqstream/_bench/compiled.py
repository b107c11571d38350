"""Compiles the C sources of this folder, once for each version of them."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]


class NotCompiled(Exception):
    """Why a source could not be compiled."""


def compiler() -> list[str]:
    """The command of the C compiler: $CC, or the one that Python was built with, or cc."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        if command and shutil.which(shlex.split(command)[0]):
            return shlex.split(command)
    raise NotCompiled("there is no C compiler (CC names one)")


def cache_folder() -> Path:
    """A folder for compiled files to which no other user can write."""
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    folder = Path(tempfile.gettempdir()) / f"zmqstream-bench-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise NotCompiled(f"{folder} belongs to another user")
    return folder


def compiled(source: str, *options: str) -> Path:
    """Compile a source in this folder. Returns the file."""
    return compile_at(Path(__file__).with_name(source), *options)


@functools.cache
def compile_at(path: Path, *options: str) -> Path:
    """Compile a source. Returns the file."""
    before = [*compiler(), *FLAGS]
    key = hashlib.sha256(path.read_bytes() + " ".join([*before, *options]).encode())
    result = cache_folder() / f"{path.stem}-{key.hexdigest()[:16]}"
    if not result.exists():
        fresh = result.with_suffix(f".{os.getpid()}")
        command = [*before, str(path), "-o", str(fresh), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            first = next(iter(done.stderr.splitlines()), f"status {done.returncode}")
            raise NotCompiled(f"{path.name} does not compile: {first}")
        fresh.replace(result)
    return result
