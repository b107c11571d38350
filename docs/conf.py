"""Sphinx: `sphinx-build -W -n docs build/docs`. Nothing is fetched."""

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
autodoc_typehints = "none"
autodoc_default_options = {"members": True}

# What is documented elsewhere: no inventory is fetched for links to it.
nitpick_ignore_regex = [
    (r"py:.*", r"(zmq|tornado|asyncio|contextvars|selectors|collections|datetime|concurrent)\..*"),
    (r"py:.*", r"(callable|optional|None|int|float|bool|bytes|list|str|dict|object)"),
    (r"py:.*", r"object with fileno|text file"),
]
