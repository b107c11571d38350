"""Sphinx: `sphinx-build -W -n docs build/docs`. Nothing is fetched."""

import ast
import inspect
import re
from pathlib import Path

import zmqstream

project = "zmqstream"
version = release = zmqstream.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_show_copyright = False
html_title = f"zmqstream {release}"
html_theme_options = {"navigation_with_keys": False}
html_static_path = ["_static"]
html_css_files = ["pages.css"]

# headings are anchors in GitHub; up to this level, here too
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# docstrings are plain text with `code`, and numpy's headings
default_role = "code"
napoleon_google_docstring = False
napoleon_custom_sections = [("Raises, when awaited", "Raises")]
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
python_maximum_signature_line_length = 68  # longer ones have a line for each parameter

# Types are shown, but are not links.
nitpick_ignore_regex = [
    (r"py:.*", r"(zmq|tornado|asyncio|contextvars|selectors|collections|datetime|concurrent)\..*"),
    (r"py:.*", r"(typing|logging|t|zmqstream\.(ioloop|eventloop|stats|_core))\..*"),
    (r"py:.*", r"(callable|optional|None|int|float|bool|bytes|list|str|dict|object|tuple|set)"),
    (r"py:.*", r"object with fileno|text file"),
    (r"py:.*", r"(Any|Awaitable|Buffer|Callable|Coroutine|Iterable|Literal|Self|T|_T)"),
]

# -- the signatures of compiled methods, with the types of the stubs -------------------------------

NAMES = {  # what the stubs abbreviate
    "_Bytes": "Buffer | zmq.Frame",
    "_OnBytes": "Callable | None",
    "_OnBytesBatch": "Callable | None",
    "_OnSend": "Callable | None",
    "AwaitedMessage": "Awaitable",
    "AwaitedSend": "Awaitable[zmq.MessageTracker | None]",
    "Awaited": "Awaitable",
}


class Expand(ast.NodeTransformer):
    def visit_Name(self, node):
        if node.id in NAMES:
            return ast.parse(NAMES[node.id], mode="eval").body
        return node

    def visit_Subscript(self, node):
        if ast.unparse(node) == "Literal[True]":
            return ast.Name("bool")
        if isinstance(node.value, ast.Name) and node.value.id == "Callable":
            return node.value  # its docstring says with what it is called
        return self.generic_visit(node)


def stubs():
    """The compiled class's methods. Of overloads the first, which has the defaults."""
    text = (Path(zmqstream.__file__).parent / "_core.pyi").read_text(encoding="utf-8")
    module = Expand().visit(ast.parse(text))
    methods = {}
    for definition in module.body:
        if isinstance(definition, ast.ClassDef) and definition.name == "Stream":
            for method in definition.body:
                if isinstance(method, ast.FunctionDef):
                    methods.setdefault(method.name, method)
    return methods


METHODS = stubs()


def signature(app, what, name, obj, options, arguments, returned):
    found = METHODS.get(name.rpartition(".")[2])
    if what != "method":
        return None
    if found is None or inspect.isfunction(obj):
        return arguments and re.sub(r"\bCallback\b", "Callable | None", arguments), returned
    found.args.args = [argument for argument in found.args.args if argument.arg != "self"]
    return f"({ast.unparse(found.args)})", ast.unparse(found.returns)


def setup(app):
    app.connect("autodoc-process-signature", signature)
