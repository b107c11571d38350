"""Check that a wheel is small, and has one stripped extension that needs no libzmq: wheels.py FILE.

The system's own tool shows what the extension needs. On Windows this is left out.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT = 1 << 20  # bytes, of a wheel
SYSTEM = ("libc.", "libdl.", "libpthread.", "ld-linux", "libSystem.")  # what it may need
TOOLS = {  # and how the output shows a library that is needed, or a table of symbols
    "linux": (["readelf", "--dynamic", "--sections"], r"\(NEEDED\).*\[(.*)\]|(\.symtab)"),
    "darwin": (["otool", "-L"], r"^\t(?:\S*/)?(\S+)()"),
}

wheel = Path(sys.argv[1])
size = wheel.stat().st_size
if size >= LIMIT:
    sys.exit(f"{wheel}: {size} bytes; the limit is {LIMIT}")
with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
    binaries = [name for name in archive.namelist() if re.search(r"\.(so|pyd|dll|dylib)\b", name)]
    if len(binaries) != 1 or not binaries[0].startswith("zmqstream/_core."):
        sys.exit(f"{wheel}: not one extension, but {binaries}")
    needs = []
    if sys.platform in TOOLS:
        tool, shown = TOOLS[sys.platform]
        output = subprocess.check_output([*tool, archive.extract(binaries[0], folder)], text=True)
        needs = [library or table for library, table in re.findall(shown, output, re.M)]
if foreign := [name for name in needs if not name.startswith(SYSTEM)]:
    sys.exit(f"{wheel}: {binaries[0]} has or needs {foreign}")
print(f"{wheel.name}: {size >> 10} KiB, needs {needs or 'nothing that could be seen'}")
