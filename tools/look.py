"""Open a notebook in a real JupyterLab in headless Chromium and take pictures of the whole page.

    python tools/look.py notebooks/00_start_here.ipynb --run --unfold --out /somewhere
    python tools/look.py notebooks/00_start_here.ipynb --run --width 1280 960    # one run, twice

Works on a copy, so nothing is saved into the course. Needs the extra `browser` (Playwright) and
Chromium itself (Debian: apt-get install chromium); $CHROMIUM names another binary.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
SLICE = 1500  # pixels of page height in one picture
# Where the last cell ends. Not scrollHeight, since JupyterLab lets one scroll a whole window past
# the end.
BOTTOM = """() => {
  // it stands at the end after a run
  document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0);
  const cells = document.querySelectorAll('.jp-NotebookPanel .jp-Cell');
  return Math.ceil(cells[cells.length - 1].getBoundingClientRect().bottom) + 40;
}"""
# Waiting for kernel.info before running all cells avoids a race in which some cells are not run.
RUN_ALL = """async () => {
  const app = window.jupyterapp; await app.restored;
  const panel = app.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
  return panel.content.widgets.filter(w => w.model.type === 'code').map(w => ({
    count: w.model.executionCount,
    errors: w.model.outputs.toJSON().filter(o => o.output_type === 'error')
      .map(o => o.ename + ': ' + o.evalue)}));
}"""


@contextlib.contextmanager
def jupyterlab(notebook: Path):
    """A JupyterLab that serves a copy of `notebook`; gives the address of the page and the
    folder of the copy.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "course" / "notebooks").mkdir(parents=True)
        # where the set-up cell looks for it
        (home / "course" / "course_utils").symlink_to(ROOT / "course_utils")
        shutil.copy(notebook, home / "course" / "notebooks")
        # all cells in the page
        for plugin, settings in (
            ("notebook-extension/tracker", {"windowingMode": "none"}),
            ("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}),
        ):
            file = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(settings))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "COURSE_HOME": str(home / "reader"),
        }
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=look",
            f"--ServerApp.root_dir={home / 'course'}",
            "--expose-app-in-browser",
            "--LabApp.extension_manager=readonly",
        ]
        with open(home / "server.log", "w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=look", timeout=2)
                    break
                except (urllib.error.URLError, ConnectionError):
                    if server.poll() is not None:
                        raise RuntimeError(
                            "JupyterLab stopped:\n" + (home / "server.log").read_text()[-2000:]
                        ) from None
                    time.sleep(0.25)
            yield (
                f"http://127.0.0.1:{port}/lab/tree/notebooks/{notebook.name}?reset&token=look",
                home / "course" / "notebooks",
            )
        finally:
            server.terminate()
            server.wait(20)


@contextlib.contextmanager
def opened(notebook: Path, width: int = 1280):
    """A Playwright page with `notebook` open in JupyterLab; console errors are collected in
    page.errors.
    """
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        raise RuntimeError(
            "Chromium is not installed (Debian: apt-get install chromium); $CHROMIUM may name"
            " another binary"
        )
    with jupyterlab(notebook) as (address, folder), sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder.parents[1] / "profile"),
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": width, "height": 900},
        )
        page = context.pages[0] if context.pages else context.new_page()
        page.errors = []
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        page.wait_for_function(
            "() => window.jupyterapp && document.querySelector('.jp-NotebookPanel .jp-Cell')"
            " && !document.querySelector('#jupyterlab-splash')",
            timeout=90_000,
        )
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        yield page
        context.close()


def take_pictures(page, width: int, out: Path) -> None:
    """Pictures of the whole open notebook at one width, and what is wider than its cell."""
    height = 900
    page.set_viewport_size({"width": width, "height": height})
    # more than once, because on a busy machine cells are still being drawn
    while (bottom := page.evaluate(BOTTOM)) > height:
        height = bottom
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(3_000)
    tops = range(0, height, SLICE)
    for i, top in enumerate(tops):
        page.screenshot(
            path=out / f"{width}-{i:02d}.png",
            clip={"x": 0, "y": top, "width": width, "height": min(SLICE, height - top)},
        )
    wide = page.evaluate(
        """() => [...document.querySelectorAll('.jp-RenderedMarkdown, .jp-OutputArea-output')]
        .filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 60))"""
    )
    print(
        f"{width} pixels: {len(tops)} pictures in {out}; wider than their cell: {wide or 'nothing'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Take pictures of a notebook as a reader sees it.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument(
        "--run", action="store_true", help="run all cells first, and fail if one raises"
    )
    parser.add_argument("--unfold", action="store_true", help="open the folded hints and answers")
    parser.add_argument("--width", type=int, nargs="+", default=[1280])
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "look")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with opened(options.notebook, options.width[0]) as page:
        if options.run:
            page.set_default_timeout(600_000)
            cells = page.evaluate(RUN_ALL)
            failed = [cell for cell in cells if not cell["count"] or cell["errors"]]
            print(f"{len(cells)} cells run, {len(failed)} failed", *failed, sep="\n")
            if failed:
                return 1
        page.wait_for_timeout(3_000)  # formulas and pictures
        if options.unfold:
            page.evaluate(
                "() => document.querySelectorAll('details').forEach(d => d.setAttribute('open',"
                " ''))"
            )
        for width in options.width:
            take_pictures(page, width, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
