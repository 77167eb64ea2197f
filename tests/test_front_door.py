"""The front door: what a newcomer meets first leads somewhere, and its commands exist."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from test_environment import PROJECT, missing, pins

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import check_notebooks  # noqa: E402
import pages  # noqa: E402

TEXTS = ["README.md", "CONTRIBUTING.md", "tests/README.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = tomllib.loads((ROOT / "notebooks/source/map.toml").read_text(encoding="utf-8"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_the_map_has_the_titles_of_the_pages_that_stand():
    titles = {number: title for part in MAP.values() for number, title in part.items()}
    found = {room.name[:2]: pages.title_of(room) for room in pages.sources(ROOT)}
    assert found and {number: titles[number] for number in found} == found


# ---- the texts ----


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_pictures_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [address for address, _ in check_notebooks.references(text)]
    assert links or name != "README.md"
    assert [why for link in links if (why := check_notebooks.dead(link, ROOT / name, ROOT))] == []
    assert list(check_notebooks.wordless(text)) == []


def commands(text):
    """The blocks to copy, and the commands of make within sentences."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`(make [^`]+|python -m [^`]+)`", text)
    return [block for language, block in blocks if not language] + inline


@pytest.mark.parametrize("name", TEXTS)
def test_commands_name_only_what_exists(name):
    found = commands((ROOT / name).read_text(encoding="utf-8"))
    assert found
    for command in found:
        assert missing(command.replace("REPO=you/your-fork", "")) == [], command


def test_the_first_screen_says_what_for_whom_how_it_looks_and_how_to_start():
    before_the_map = README.partition("\n## ")[0]
    for part in ("course in Jupyter notebooks", "For people who", "<img ", "git clone", "make lab"):
        assert part in before_the_map
    picture = re.search(r'<img src="([^"]+)"', before_the_map)[1]
    assert (ROOT / picture).stat().st_size < 150_000
    # a line of a block is copied, not read: no table, no comment behind it
    assert "|" not in before_the_map and "#" not in commands(before_the_map)[0]
    assert len(before_the_map.split()) < 200


def test_the_example_of_the_package_runs():
    example = re.search(r"```python\n(.*?)```", README, re.S)[1]
    names = {}
    exec(example, names)
    assert names["logits"].shape == (8, 10)


def test_pip_asks_for_the_build_that_make_asks_for(monkeypatch):
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools/install.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool.sys, "platform", "linux")
    asked = tool.cpu_build(ROOT, tool.CONSTRAINTS)
    assert asked[:2] == [f"{name}=={pins()[name]}+cpu" for name in ("torch", "torchvision")]
    block = next(block for block in commands(README) if "+cpu" in block)
    for line in block.split():
        if "torch" in line or line.startswith("--"):
            assert line in asked


# ---- the map ----


def test_the_map_holds_every_page_once_and_in_order():
    numbers = [number for titles in MAP.values() for number in titles]
    assert numbers == [f"{k:02}" for k in range(36)] and len(MAP) == 6
    assert "Thirty-six pages in six parts" in README
    titles = [title for titles in MAP.values() for title in titles.values()]
    assert len(set(titles)) == 36


@pytest.fixture
def mini(tmp_path):
    """A course with two pages of three, one of them built."""
    for name, text in {
        "pyproject.toml": '[project.urls]\nRepository = "https://github.com/a/b"\n',
        "notebooks/source/map.toml": '["Part 0"]\n00 = "Old"\n01 = "Later"\n["Part 1"]\n02 = "C"\n',
        "notebooks/source/00_one/page.py": "# %% [markdown]\n# # New?\n",
        "notebooks/source/02_two/page.py": "# %% [markdown]\n# # Two?\n",
        "notebooks/02_two.ipynb": "*About 25 minutes. You need nothing.*",
        "README.md": "above\n<!-- pages -->\nold\n<!-- end of pages -->\nbelow\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_map_shows_what_stands_and_what_is_planned(mini):
    opens = (
        "[Colab](https://colab.research.google.com/github/a/b/blob/main/notebooks/{0}.ipynb)"
        " [Kaggle](https://kaggle.com/kernels/welcome?src="
        "https://github.com/a/b/blob/main/notebooks/{0}.ipynb)"
    )
    assert pages.readme(mini).splitlines() == [
        "above",
        "<!-- pages -->",
        "### Part 0",
        "",
        "| page | minutes | open in |",
        "|---|---|---|",
        f"| [00 · New?](notebooks/00_one.ipynb) |  | {opens.format('00_one')} |",
        "| 01 · Later | planned | |",
        "",
        "### Part 1",
        "",
        "| page | minutes | open in |",
        "|---|---|---|",
        f"| [02 · Two?](notebooks/02_two.ipynb) | 25 | {opens.format('02_two')} |",
        "<!-- end of pages -->",
        "below",
    ]


def test_a_page_that_no_part_holds_is_told(mini):
    (mini / "notebooks/source/03_lost").mkdir()
    (mini / "notebooks/source/03_lost/page.py").write_text("# # Lost\n")
    with pytest.raises(pages.BuildError, match="map.toml: page 03 stands in no part"):
        pages.readme(mini)


# ---- what GitHub and others read ----


def test_every_text_with_the_address_is_one_that_make_address_rewrites():
    from build_notebooks import ADDRESSED

    listed = subprocess.run(
        ["git", "grep", "-lI", "-e", "github.com/" + "OWNER/REPO"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode not in (0, 1):
        pytest.skip("needs git and a checkout")
    found = [path for name in ADDRESSED for path in ROOT.glob(name)]
    rewritten = {path.relative_to(ROOT).as_posix() for path in found}
    others = [
        name
        for name in listed.stdout.split()
        if name not in rewritten and not re.match(r"(notebooks|tests|tools)/.*\.(ipynb|py)$", name)
    ]
    assert others == []


def test_the_citation_is_valid_and_agrees_with_the_project():
    # The keys that the schema 1.2.0 requires, and its form of a version and a date.
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] in ("software", "dataset")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", citation["date-released"])
    assert citation["authors"] == PROJECT["authors"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert README.startswith(f"# {citation['title']}\n")


def test_there_are_forms_for_issues():
    assert [path.stem for path in FORMS] == ["fault", "question"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_needs(path):
    # docs.github.com, "Syntax for issue forms" and "Syntax for GitHub's form schema"
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "labels", "body"}
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert asked and len({part["id"] for part in asked}) == len(asked)
    for part in form["body"]:
        assert part["type"] in ("markdown", "input", "textarea", "dropdown", "checkboxes")
        assert part["attributes"]["value" if part["type"] == "markdown" else "label"]
        assert "options" in part["attributes"] or part["type"] not in ("dropdown", "checkboxes")
        for command in re.findall(r"`([^`]+)`", str(part["attributes"].get("description"))):
            assert missing(command) == []


def test_the_chooser_leads_to_the_readme():
    config = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text("utf-8"))
    for link in config["contact_links"]:
        assert {"name", "url", "about"} == set(link)
        here = link["url"].removeprefix(f"{PROJECT['urls']['Repository']}/blob/main/")
        assert check_notebooks.dead(here, ROOT / "README.md", ROOT) == ""


def test_the_container_has_a_python_for_the_course_and_installs_by_a_command_that_exists():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    version = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:3\.(\d+)", container["image"])
    assert int(version[1]) >= 11
    assert container["postCreateCommand"] == "make install CPU=1"
    assert missing(container["postCreateCommand"]) == []
    for name in container["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / name).is_file()


# ---- the version ----

SAY = "import course_utils; print(course_utils.__version__)"


def said(folder, *options):
    done = subprocess.run(
        [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {SAY}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_version_stands_in_one_place():
    assert said(ROOT) == PROJECT["version"]
    assert PROJECT["version"] not in (ROOT / "course_utils/__init__.py").read_text(encoding="utf-8")


def test_a_folder_that_was_not_installed_has_a_version_too(tmp_path):
    (tmp_path / "course_utils").mkdir()
    code = (ROOT / "course_utils/__init__.py").read_text(encoding="utf-8")
    (tmp_path / "course_utils/__init__.py").write_text(code, encoding="utf-8")
    assert said(tmp_path, "-S", "-E") == "0+not-installed"


def test_the_readme_is_what_the_project_shows():
    assert PROJECT["readme"] == "README.md"
    assert PROJECT["urls"]["Issues"] == f"{PROJECT['urls']['Repository']}/issues"
    assert Path(ROOT / PROJECT["readme"]).is_file()
