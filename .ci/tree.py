"""docs/design.md's tree has all files of the package, and no others, and every folder.

And nothing that was built or downloaded is in the repository.
"""

import re
import subprocess
import sys
from pathlib import Path

text = Path("docs/design.md").read_text(encoding="utf-8")
tree = re.search(r"```\w*\n(zmqstream/\n.*?)```", text, re.S)
if tree is None:
    sys.exit("docs/design.md: no tree")
listed, folders = set(), set()
inside = ""
for line in tree.group(1).splitlines():
    if not line.startswith(" "):
        inside = line.split()[0].rstrip("/")
        folders |= set(re.findall(r"(\w+)/", re.match(r"(?:\w+/(?!:)\s*)*", line).group()))
    elif inside == "zmqstream" and (entry := re.match(r"  (\S+)  ", line)):
        listed.add(entry.group(1).rstrip("/"))
    elif inside == "zmqstream" and (entry := re.match(r"    (\S+)  ", line)):
        listed.add(f"core/{entry.group(1)}")

tracked = subprocess.check_output(["git", "ls-files"], text=True).split()
there = {Path(name).parts[1] for name in tracked if name.startswith("zmqstream/")} - {"py.typed"}
there |= {
    f"core/{Path(name).parts[2].partition('.')[0]}"
    for name in tracked
    if name.startswith("zmqstream/core/")
}
tops = {Path(name).parts[0] for name in tracked if "/" in name and not name.startswith(".")}
wrong = [f"no {name} there" for name in sorted((listed - there) | (folders - tops))]
wrong += [f"{name} is missing" for name in sorted((there - listed) | (tops - folders))]
if wrong:
    sys.exit("docs/design.md, the tree: " + ", ".join(wrong))
built = [name for name in tracked if name.endswith((".whl", ".so", ".pyd", ".gz", ".zip"))]
if built:
    sys.exit(f"in the repository, but built or downloaded: {', '.join(built)}")
