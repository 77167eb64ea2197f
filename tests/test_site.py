"""The site: what it is made of, and, where Sphinx and Chromium are, the site itself as a browser
shows it. Building and reading it take minutes and are marked slow.
"""

import functools
import html.parser
import http.server
import re
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import build_site
import cells
import form
import pages

ROOMS = pages.sources(ROOT)
BADGES = ("https://colab.research.google.com/assets/", "https://kaggle.com/static/images/")
each_page = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)


@pytest.fixture(scope="module")
def course():
    return build_site.read(ROOT)


# ---- what it is made of ----


def test_every_page_stands_in_the_order_of_the_front_page(course):
    listed = re.findall(r"<notebooks/(\w+)>$", build_site.front(ROOT), re.M)
    assert listed == [room.name for room in ROOMS] == [room.name for room in course]


def test_the_glossary_has_each_term_once_with_its_chinese_and_its_pages(course):
    rows = re.findall(r"^\| (.+?) \| <span lang=\"zh\">(.+?)</span> \| (.+) \|$",
                      build_site.glossary(course), re.M)  # fmt: skip
    names = [term.lower() for term, _, _ in rows]
    assert len(set(map(build_site.slug, names))) == len(names) > 100
    wanted = {(room.name, term) for room, nb in course.items() for _, term, _ in form.terms(nb)}
    got = {
        (page, term.lower())
        for term, _, where in rows
        for page in re.findall(r"notebooks/(\w+)\.html#term-" + build_site.slug(term), where)
    }
    assert got == wanted
    assert all(re.search(r"[\u3400-\u9fff]", chinese) for _, chinese, _ in rows)


def test_a_term_is_spelled_small_unless_it_is_a_name():
    said = "**Pooling** (池化) is a mean. **AUC** (曲线下面积) is not; pooling is."
    course = {ROOMS[0]: new_notebook(cells=[new_markdown_cell(said)])}
    assert build_site.terms(course) == {
        "AUC": ("曲线下面积", [ROOMS[0]]),
        "pooling": ("池化", [ROOMS[0]]),
    }


def test_a_term_of_two_pages_has_one_row_and_both_pages():
    one = new_notebook(cells=[new_markdown_cell("A **dot product** (点积).")])
    other = new_notebook(cells=[new_markdown_cell("A **dot-product** (内积).")])
    table = build_site.glossary({ROOMS[0]: one, ROOMS[1]: other})
    assert table.count("| dot product |") == 1 == table.count("点积; 内积")
    assert all(f"{room.name}.html#term-dot-product" in table for room in ROOMS[:2])


def test_the_gallery_has_each_figure_with_words_and_its_page(course):
    text = build_site.gallery(course)
    shown = re.findall(
        r"^```\{figure\} gallery/(\d\d)-(\d+)\.png\n:target: notebooks/(\w+)\.html#figure-(\d+)\n"
        r":alt: \"(.+)\"\n\n(.+)\n```$",
        text,
        re.M,
    )
    pictures = {
        room.name: sum(
            "image/png" in output.get("data", {})
            for cell in cells.code_cells(nb)
            for output in cell.outputs
        )
        for room, nb in course.items()
    }
    assert len(shown) == text.count("{figure}") == sum(pictures.values()) > 50
    for number, place, page, target, _, _ in shown:
        assert page.startswith(number) and place == target and int(place) <= pictures[page]
    assert len({picture[:2] for picture in shown}) == len(shown)


def test_the_reference_has_each_module_once():
    written = "\n".join(build_site.reference(ROOT).values())
    listed = re.findall(r"^\.\. automodule:: (.+)$", written, re.M)
    files = [path for path in (ROOT / "course_utils").rglob("*.py") if path.stem != "__init__"]
    folders = [path for path in (ROOT / "course_utils").glob("*/__init__.py")]
    assert len(listed) == len(set(listed)) == len(files) + len(folders)
    assert "course_utils.fusion" in listed and "course_utils.fusion.base" in listed


@pytest.mark.parametrize(
    "here, link, wanted",
    [
        ("notebooks", "13_fusion_gated_and_tensor.ipynb", "13_fusion_gated_and_tensor.ipynb"),
        ("notebooks", "12_a.ipynb#Adding,-and-what-is-it%3F", "12_a.ipynb#adding-and-what-is-it"),
        ("notebooks", "TEACHING.md", "TEACHING.md"),
        ("notebooks", "../README.md#install", "../index.md#install"),
        ("notebooks", "../data/digits/README.md", "{}/blob/main/data/digits/README.md"),
        ("notebooks", "../data", "{}/tree/main/data"),
        ("", "notebooks/TEACHING.md", "notebooks/TEACHING.md"),
        ("", "CONTRIBUTING.md#style", "{}/blob/main/CONTRIBUTING.md#style"),
        ("", "https://example.org/README.md", "https://example.org/README.md"),
        ("", "#install", "#install"),
    ],
)
def test_a_link_leads_to_a_page_or_to_the_repository(here, link, wanted):
    assert build_site.relink(f"see [it]({link}).", here, ROOT) == (
        f"see [it]({wanted.format(pages.address(ROOT))})."
    )


def test_a_page_on_the_site_names_its_places_and_says_what_is_folded():
    figure = new_output("display_data", data={"image/png": "iVBORw0KGgo="},
                        metadata={"image/png": {"alt": "A dot.", "width": 300}})  # fmt: skip
    nb = new_notebook(
        cells=[
            new_markdown_cell("A **key** (键), again **key** (键). [Data](../data)"),
            new_code_cell("# @title `plot` a dot.\nplot()", outputs=[figure]),
            new_code_cell("1"),
        ]
    )
    prose, mark, code, plain = build_site.dressed(nb, ROOT).cells
    assert prose.source.count('<span id="term-key"></span>**key**') == 1
    assert f"({pages.address(ROOT)}/tree/main/data)" in prose.source
    assert mark.source == '<span id="figure-1"></span>'
    said = {"code_prompt_show": "plot a dot.", "image": {"width": "300px"}}
    assert code.metadata["mystnb"] == said
    assert "mystnb" not in plain.metadata


def test_what_is_gone_from_the_course_is_gone_from_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr(build_site, "smaller", lambda picture: picture)  # which takes seconds
    build_site.stage(ROOT, tmp_path)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    (tmp_path / "notebooks/99_gone.ipynb").write_text("{}")
    build_site.stage(ROOT, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == first
    assert (tmp_path / "notebooks" / f"{ROOMS[0].name}.ipynb").read_bytes() == (
        pages.built(ROOT, ROOMS[0]).read_bytes()
    )


# ---- the site, built ----


class Reader(html.parser.HTMLParser):
    """What a page of the site holds: its ids, its links, what it loads, its pictures."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.pictures, self.folds = set(), [], [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given.get("id"), given.get("name")} - {None}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "index", "search"):
            self.loads.append(given["href"])
        if tag == "img":
            self.pictures.append((given["src"], given.get("alt", "")))
        self.folds += tag == "details" and "above-input" in given.get("class", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    for name in ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline"):
        pytest.importorskip(name, reason="the extra `site` is not installed")
    folder = tmp_path_factory.mktemp("site")
    assert build_site.main(ROOT, folder) == 0, "Sphinx warns; its words stand above"
    return folder / "html"


@pytest.fixture(scope="module")
def read(site):
    """{address: Reader} of all pages of the site."""
    found = {path.relative_to(site).as_posix(): Reader(path) for path in site.rglob("*.html")}
    return {name: page for name, page in found.items() if not name.startswith("_static/")}


@pytest.mark.slow
def test_no_link_inside_the_site_is_broken(site, read):
    broken = []
    for name, page in read.items():
        for link in page.links + page.loads:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (site / name).parent / urllib.parse.unquote(parts.path) if parts.path else None
            target = (there or site / name).resolve()
            known = read.get(target.relative_to(site.resolve()).as_posix())
            mark = urllib.parse.unquote(parts.fragment)
            if not target.is_file() or (known and mark and mark not in known.ids):
                broken.append((name, link))
    assert broken == []
    assert len(read) > len(ROOMS) + 50


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere_but_badges(read):
    for name, page in read.items():
        outside = [
            one for one in page.loads if urllib.parse.urlsplit(one).scheme not in ("", "data")
        ]
        assert [one for one in outside if not one.startswith(BADGES)] == [], name


@pytest.mark.slow
@each_page
def test_a_page_keeps_its_folded_cells_and_its_figures_their_words(site, read, course, room):
    page = read[f"notebooks/{room.name}.html"]
    folded = [cell for cell in course[room].cells if "hide-input" in cells.tags_of(cell)]
    assert page.folds == len(folded)
    text = (site / f"notebooks/{room.name}.html").read_text(encoding="utf-8")
    ladders = "".join(cell.source for cell in course[room].cells if cell.cell_type == "markdown")
    assert text.count("</details>") >= page.folds + ladders.count("<details>")
    assert all(alt.strip() for _, alt in page.pictures)
    drawn = [alt for source, alt in page.pictures if "/_images/" in source]
    shown = [words for cell in course[room].cells for _, words in pages.shown(cell)]
    assert len(drawn) == len(shown)
    assert all(words in alt for words, alt in zip(shown, drawn))


@pytest.mark.slow
def test_the_reference_leads_to_the_source(site, read):
    text = (site / "api/course_utils.fusion.html").read_text(encoding="utf-8")
    assert 'id="course_utils.fusion.concat.ConcatFusion"' in text
    assert "../_modules/course_utils/fusion/concat.html#ConcatFusion" in text
    assert "ConcatFusion" in read["_modules/course_utils/fusion/concat.html"].ids


# ---- in a browser ----

# Rules of axe that the theme breaks, and we do not: its name stands above the navigation, in no
# landmark.
THEME = {"region"}
LOOKED_AT = [
    "index",
    "notebooks/05_audio_features",
    "notebooks/14_attention_from_scratch",
    "notebooks/22_training_by_hand",
    "notebooks/FINDINGS",
    "notebooks/INDEX",
    "notebooks/TEACHING",
    "glossary",
    "gallery",
    "search",
    "api/index",
    "api/course_utils.fusion",
    "_modules/course_utils/fusion/base",
]


@pytest.fixture(scope="module")
def browser(site):
    """Opens pages of the site at a width, in a theme; notes in `.asked` what any asks of others."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the extra `browser` (Playwright) is not installed"
    )
    import look

    if look.CHROMIUM is None:
        pytest.skip("Chromium is not installed")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}/"
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=look.CHROMIUM, args=look.FLAGS)

        def opened(width=1280, theme="light"):
            context = chromium.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=theme,
                reduced_motion="reduce",  # no colour that is still on its way
            )
            page = context.new_page()
            page.here, page.asked = here, []

            def elsewhere(route):
                page.asked.append(route.request.url)
                route.abort()

            page.route(lambda url: not url.startswith(here), elsewhere)
            return page

        yield opened
        chromium.close()
    server.shutdown()


def go(page, name):
    """Open a page of the site and wait for its formulas."""
    page.goto(f"{page.here}{name}.html")
    page.evaluate("async () => window.MathJax?.startup && await MathJax.startup.promise")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_formulas_are_set_with_their_numbers_and_nothing_is_asked_of_others(browser, course):
    page = browser()
    for room, nb in course.items():
        go(page, f"notebooks/{room.name}")
        prose = "\n".join(text for _, text in cells.prose_cells(nb))
        # what MathJax cannot read is an error, what it does not know is red
        assert page.locator("mjx-merror, mjx-mtext[style*='red']").count() == 0, room.name
        raw = page.locator(".math:not(:has(mjx-container))").count()
        assert raw == 0, f"{room.name}: {raw} formulas are not set"
        numbers = page.locator("mjx-assistive-mml mlabeledtr > mtd:first-child")
        said = [text.strip("() ") for text in numbers.all_text_contents()]
        assert sorted(said) == sorted(re.findall(r"\\tag\{(.+?)\}", prose)), room.name
    assert page.asked and all(url.startswith(BADGES) for url in page.asked)


@pytest.mark.slow
def test_search_finds_a_page_by_its_words(browser):
    page = browser()
    page.goto(f"{page.here}search.html?q=scaled+dot+product+patches")
    found = page.locator("#search-results li a")
    found.first.wait_for(timeout=20_000)
    links = found.evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert any("14_attention_from_scratch" in link for link in links)
    assert page.asked == []


# A formula that is wider than the screen scrolls from its first sign on.
CUT = """() => [...document.querySelectorAll('div.math')].filter(one => {
  const left = one.getBoundingClientRect().left - 1;
  return [...one.querySelectorAll('mjx-c')].some(sign => sign.getBoundingClientRect().left < left)
    || (one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX !== 'auto');
}).length"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_page_is_wider_than_a_phone(browser, read):
    page, wide = browser(390), []
    for name in read:
        if not name.startswith("_modules/") or name.endswith(("base.html", "plots.html")):
            go(page, name.removesuffix(".html"))
            if page.evaluate("document.documentElement.scrollWidth") > 390:
                wide.append(name)
            if page.evaluate(CUT):
                wide.append(f"{name}: a formula is cut")
    assert wide == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "theme, width", [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
)
def test_axe_finds_nothing_of_ours_in_either_theme(browser, theme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="the extra `browser` (axe) is not installed"
    ).Axe()
    page, found, grounds = browser(width, theme), [], set()
    for name in LOOKED_AT:
        go(page, name)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for one in axe.run(page).response["violations"]:
            if one["id"] not in THEME:
                found.append((name, one["id"], one["nodes"][0]["target"]))
    assert found == []
    dark = [sum(map(int, re.findall(r"\d+", ground)[:3])) < 3 * 64 for ground in grounds]
    assert dark == [theme == "dark"]


@pytest.mark.slow
def test_a_page_prints_without_what_surrounds_it(browser):
    page = browser()
    go(page, "notebooks/14_attention_from_scratch")
    page.emulate_media(media="print")
    for around in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article"):
        assert not page.locator(around).first.is_visible(), around
    assert page.locator("h1:visible").count() == 1
    assert page.pdf(format="A4").startswith(b"%PDF")
