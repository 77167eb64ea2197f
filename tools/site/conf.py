"""How the site looks and what Sphinx makes of the pages; `tools/build_site.py` runs it."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import build_site  # noqa: E402

project = "Multimodal Learning, from Features to Fusion"
author = "The course authors"
copyright = "The course authors. Code MIT, text and data CC BY 4.0"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax"]

# The pages as they stand: nothing is run, and a widget is the picture that is stored with it.
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_code_prompt_hide = "Hide"
highlight_language = "none"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 3

# MathJax travels with the site; the default would come from another host.
MATHJAX = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
mathjax_path = "mathjax/tex-chtml.js"

# A name stands where it is defined, and not again in the package that offers it.
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,
    "show-inheritance": True,
    "member-order": "bysource",
}
autodoc_inherit_docstrings = False
viewcode_follow_imported_members = False
html_use_index = html_domain_indices = False  # the search finds a name, too

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["site.css", f"{MATHJAX}/static"]
html_css_files = ["site.css"]
html_theme_options = {
    "repository_url": build_site.address(ROOT),
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": True,
    "show_toc_level": 2,
    "max_navbar_depth": 1,
    "navbar_persistent": [],
}


# What begins a line of its own in a docstring.
SAID = r"(?:Cost in|Missing:|Weights:|Attention:|Contributions:|Source:|Raises )"


def read(app, docname, source):
    """A page of the course, or a text beside it, as the site shows it."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".ipynb":
        nb = build_site.dressed(nbformat.reads(source[0], as_version=4), ROOT)
        source[0] = nbformat.writes(nb)
    elif path.suffix == ".md":
        origin = {page: text for text, page in build_site.TEXTS.items()}.get(f"{docname}.md")
        if origin:
            here = Path(origin).parent.as_posix().replace(".", "")
            source[0] = build_site.relink(source[0], here, ROOT)


def tagged(app, doctree):
    """An equation with a number of its own goes to MathJax as it is: Sphinx would put one of
    several lines into an environment that allows no number.
    """
    for node in doctree.findall(nodes.math_block):
        if r"\tag{" in node.astext():
            node["no-wrap"] = True
            node[:] = [nodes.Text(rf"\[{node.astext()}\]")]


def plain(app, what, name, thing, options, lines):
    """Docstrings are written to be read as they are: what is in columns stays so, in the rest no
    character but ` has a meaning.
    """
    text = "\n".join(lines)
    lines.clear()
    for paragraph in re.split(rf"\n\s*\n|\n(?={SAID})", text.strip("\n")):
        rows = paragraph.split("\n")
        if any(row.startswith((" ", ">>>")) or re.search(r"\S {3,}\S", row) for row in rows):
            lines += ["::", "", *(f"   {row}" for row in rows), ""]
            continue
        parts = re.split(r"`([^`]+)`", paragraph)
        parts[::2] = [re.sub(r"([\\*_|`])", r"\\\1", part) for part in parts[::2]]
        parts[1::2] = [f"\\ ``{part}``\\ " for part in parts[1::2]]
        lines += [*"".join(parts).split("\n"), ""]


def setup(app):
    app.connect("source-read", read)
    app.connect("doctree-read", tagged)
    app.connect("autodoc-process-docstring", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
