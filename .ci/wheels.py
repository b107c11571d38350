"""A wheel's extension is small and stripped, and has and needs no libzmq: wheels.py WHEEL...

The libraries that it needs are looked up with the system's own tool; on Windows that is left out.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT = 1 << 20  # bytes, of a wheel
SYSTEM = ("libc.", "libdl.", "libpthread.", "ld-linux", "libSystem.")  # what an extension may need
TOOLS = {"linux": ["readelf", "--dynamic"], "darwin": ["otool", "-L"]}


def fail(text):
    sys.exit(f"{wheel}: {text}")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed(library):
    """The libraries that the system will look for when it loads this one; None: who knows."""
    tool = TOOLS.get(sys.platform)
    if tool is None or shutil.which(tool[0]) is None:
        return None
    lines = output(*tool, str(library)).splitlines()
    if tool[0] == "readelf":
        return [line.rpartition("[")[2].rstrip("]") for line in lines if "(NEEDED)" in line]
    return [Path(line.split()[0]).name for line in lines[1:]]


for wheel in sys.argv[1:]:
    size = Path(wheel).stat().st_size
    if size >= LIMIT:
        fail(f"{size} bytes, and may have {LIMIT}")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        binary = (".so", ".pyd", ".dll", ".dylib")
        libraries = [name for name in names if name.endswith(binary) or ".so." in name]
        if len(libraries) != 1 or not libraries[0].startswith("zmqstream/_core."):
            fail(f"not one extension, but {libraries}")
        extension = Path(archive.extract(libraries[0], folder))
        needs = needed(extension)
        if foreign := [name for name in needs or () if not name.startswith(SYSTEM)]:
            fail(f"{libraries[0]} needs {foreign}")
        if sys.platform == "linux" and ".symtab" in output("readelf", "--sections", str(extension)):
            fail(f"{libraries[0]} is not stripped")
    print(f"{Path(wheel).name}: {size / 1024:.0f} KiB, needs {needs}")
