"""Check the prose of pages and docstrings: proselint's checks, and six rules of plain English.

Five of the rules are in RULES and LONGEST, the sixth is the length of the commit's subject. Code,
links and names in backticks are not prose.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from proselint.checks import __register__
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

LONGEST = 28  # words in a sentence
SUBJECT = 72  # characters in the first line of a commit message
RULES = {
    "name the thing: the message, the peer, the caller": [
        r"who(m)?ever",
        r"(what|which) nobody",
        r"nobody is",
        r"who is \w+ed",
        r"what is said",
    ],
    'write "is not a", "unless", "because", "except"': [
        r"(?<!there )(is|are|was) no (?!longer|more)",
        r"but for (?=what|those|the|its)",
        r"for want of",
        r"of one's own",
        r"by which",
        r"likewise",
    ],
    "use the field's verbs: report, drop, retry, wake, schedule, release": [
        r"tells?|told",
        r"lets? go",
        r"comes? by",
        r"sees? to(?! it)",
        r"hears? of",
        r"gives? up on",
    ],
    "say what is, without targets and without history": [
        r"not met",
        r"required",
        r"(an)?other days?",
        r"formerly",
        r"used to be",
    ],
}

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PRINTED = {"tables.md"}  # by a program
SOURCES = [*sorted(ROOT.glob("zmqstream/**/*.py")), *sorted(ROOT.glob("examples/*.py"))]
SOURCES += [ROOT / "zmqstream/core/stream.pyx"]

# proselint's checks of typography are for print, and a name that is repeated is no mistake
CHECKS = {**DEFAULT["checks"], "typography": False, "lexical_illusions": False}


def blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def name(match: re.Match[str]) -> str:
    """A name is one word of a sentence."""
    return "N" + blank(match)[1:]


def page(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of the page. Lines and columns stay, code goes."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^ *```.*?^ *```$", blank, text)
    text = re.sub(r"(?m)(?<=\n\n)(( {4}.*)?\n)+", blank, text)  # indented code
    text = re.sub(r"(?s)<!--.*?-->", blank, text)
    text = re.sub(r"(?<=\])\([^)]*\)", blank, text)
    yield 1, re.sub(r"`[^`\n]*`", name, text)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of each public docstring."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [
            (node.body[0].lineno, documented)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, kinds) and not getattr(node, "name", "").startswith("_")
            if (documented := ast.get_docstring(node, clean=False))
        ]
    else:
        found = [
            (text.count("\n", 0, match.start(1)) + 1, match[1])
            for match in re.finditer(r'(?s)    def [a-z][^"]*?:\n +"""(.*?)"""', text)
        ]
    for line, documented in found:
        lines = [text for text in documented.splitlines()[1:] if text.strip()]
        margin = min((len(text) - len(text.lstrip()) for text in lines), default=0)
        code = rf"(?m)(?<=\n\n)(( {{{margin + 4}}}.*)?\n)+"
        yield line, re.sub(r"`[^`]*`", name, re.sub(code, blank, documented))


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences and where they begin. Items of lists, cells and headings are sentences."""
    ends = r"\n\s*\n|\n\s*[-*] |\n\s*\d+\. |\n#+ |[.!?:;][\"')*]*\s|\||\n[\w, ]+ : |\n\s*--+\n"
    start = 0
    for match in re.finditer(ends, text + "\n\n"):
        sentence = text[start : match.start()]
        yield start + len(sentence) - len(sentence.lstrip()), sentence
        start = match.end()


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Faults, and the lines in which they are."""
    for result in LintFile("text", text).lint({**DEFAULT, "max_errors": 1000, "checks": CHECKS}):
        yield result.pos[0] - 1, result.check_result.message
    for rule, patterns in RULES.items():
        for match in re.finditer(rf"(?i)\b({'|'.join(patterns)})\b", text):
            yield text.count("\n", 0, match.start()) + 1, f'{rule}, not "{match[0]}"'
    for start, sentence in sentences(text):
        words = re.findall(r"\w[\w'().-]*", sentence)
        if len(words) > LONGEST:
            yield text.count("\n", 0, start) + 1, f"{len(words)} words: {' '.join(words[:5])} ..."


def main() -> int:
    CheckRegistry().register_many(__register__)
    count = 0
    texts = [(path, page(path)) for path in PAGES if path.name not in PRINTED]
    texts += [(path, docstrings(path)) for path in SOURCES]
    for path, found in texts:
        for first, text in found:
            for line, message in faults(text):
                count += 1
                print(f"{path.relative_to(ROOT)}:{first + line - 1}: {message}")
    log = ["git", "log", "-1", "--format=%s"]
    subject = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if len(subject.strip()) > SUBJECT:
        count += 1
        print(f"the commit's subject has more than {SUBJECT} characters: {subject.strip()}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
