"""The sdist has everything, the wheel nothing that it does not need: contents.py SDIST WHEEL."""

import subprocess
import sys
import tarfile
import zipfile

sdist, wheel = sys.argv[1:]

with tarfile.open(sdist) as archive:
    listed = {name.partition("/")[2] for name in archive.getnames()} - {""}
tracked = set(subprocess.check_output(["git", "ls-files"], text=True).split())
missing = sorted(
    name for name in tracked - listed if not name.startswith((".ci/", ".git", ".pre-commit"))
)
if missing:
    sys.exit(f"missing in the sdist: {missing}")
if generated := sorted(n for n in listed if n.endswith((".c", ".so", ".pyc")) and n not in tracked):
    sys.exit(f"generated, and in the sdist: {generated}")

with zipfile.ZipFile(wheel) as archive:
    names = [n for n in archive.namelist() if ".dist-info/" not in n]
expected = {"_core.pyi", "py.typed"} | {
    name.removeprefix("zmqstream/")
    for name in tracked
    if name.startswith("zmqstream/") and name.endswith((".py", ".c"))
}
found = {n.removeprefix("zmqstream/") for n in names}
if not expected <= found:
    sys.exit(f"missing in the wheel: {sorted(expected - found)}")
kinds = (".py", ".pyi", "py.typed", ".so", ".pyd")
foreign = [n for n in found if not n.endswith(kinds) and n not in expected]
if foreign or any("zmq" in n and ".so." in n for n in names):
    sys.exit(f"in the wheel without need: {foreign}")
print(f"sdist: {len(listed)} entries, wheel: {sorted(found)}")
