"""One pattern for every widget: controls, below them a picture, below it a sentence that says
what is seen.

Handlers only assign to `Image.value` and `HTML.value`: `interact` and `Output` stack their
results on Colab, and the notebooks' test does not follow them. Nothing is used that ipywidgets
7.7 (Colab) and 8 do not share.
"""

import contextlib
import functools
import html
import inspect

import ipywidgets
from matplotlib.figure import Figure
from traitlets import TraitError

from course_utils import plots

CONTROLS = (
    ipywidgets.IntSlider,
    ipywidgets.FloatSlider,
    ipywidgets.SelectionSlider,
    ipywidgets.Dropdown,
)
REMEMBERED = 128  # settings whose picture is kept, some 50 kB each


class Explorer:
    """A widget; as the last line of a cell it shows itself, elsewhere `.show()` does.

    `controls` maps names to an IntSlider, FloatSlider, SelectionSlider or Dropdown. `render` and
    `describe` are called with their values by name: `render` returns a figure (from
    `plots.axes`, or `plots.bars.figure(...)`) or PNG bytes at `plots.DPI`, `describe` a plain
    sentence. Both results are remembered. Without a kernel the page shows picture and sentence
    of the first setting; that sentence is compared between machines, so keep its decimals few.

    >>> noise = FloatSlider(value=0.5, min=0, max=1, step=0.1)
    >>> Explorer(draw, {"noise": noise}, describe, caption="Accuracy by noise.")

    `.set(noise=0.7)`, `.picture` (PNG bytes) and `.sentence` do in code what a reader does by hand.

    Raises TypeError for other controls, and for functions that do not take their names.
    """

    def __init__(self, render, controls: dict, describe, *, caption: str):
        self.caption = plots.sentence("caption", caption)
        if not isinstance(controls, dict) or not controls:
            raise TypeError(f"controls is {controls!r}, expected a dict of names and sliders")
        for name, control in controls.items():
            if not isinstance(control, CONTROLS):
                raise TypeError(
                    f"controls[{name!r}] is {control!r}, expected one of"
                    f" {', '.join(c.__name__ for c in CONTROLS)}"
                )
        for part, function in (("render", render), ("describe", describe)):
            try:
                inspect.signature(function).bind(**controls)
            except TypeError as error:
                raise TypeError(
                    f"{part}: {error}; expected a function of {', '.join(controls)}"
                ) from None
        self.controls, self._render, self._describe, self._held = (
            dict(controls),
            render,
            describe,
            False,
        )
        self.picture, self._remembered = b"", functools.lru_cache(REMEMBERED)(self._draw)
        for name, control in controls.items():
            control.description = control.description or name.replace("_", " ")
            control.style.description_width, control.layout.width = "9em", "30em"
            if hasattr(control, "continuous_update"):
                # one picture where a drag ends, not a queue of them
                control.continuous_update = False
            control.observe(self._follow, "value")
        self._image, self._words = ipywidgets.Image(format="png"), ipywidgets.HTML()
        self._box = ipywidgets.VBox([*controls.values(), self._image])
        self._follow()
        if self.error:  # in the first setting it is the author's
            raise self.error

    @property
    def settings(self) -> dict:
        """{name: value}, floats without the dust that a browser's arithmetic leaves on them
        (0.30000000000000004).
        """
        return {
            name: round(c.value, 10) if isinstance(c.value, float) else c.value
            for name, c in self.controls.items()
        }

    def set(self, **settings) -> str:
        """Move controls, all at once, and return the new sentence; an error that a reader would
        see is raised as well.
        """
        if unknown := settings.keys() - self.controls.keys():
            raise TypeError(
                f"there is no control {', '.join(sorted(unknown))}, expected"
                f" {', '.join(self.controls)}"
            )
        before, self._held = self.settings, True
        try:
            for name, value in settings.items():
                control = self.controls[name]
                # told below, as is a slider that stopped at its end
                with contextlib.suppress(TraitError):
                    control.value = value
                if control.value != value:
                    allowed = (
                        f"{control.min:g} to {control.max:g}"
                        if hasattr(control, "min")
                        else f"one of {control.options}"
                    )
                    raise ValueError(f"{name} is {value!r}, expected {allowed}")
        except ValueError:
            for name in settings:
                self.controls[name].value = before[name]
            raise
        finally:
            self._held = False
        self._follow()
        if self.error:
            raise self.error
        return self.sentence

    def show(self) -> None:
        """Display two outputs, each live where there is a kernel and its content where there is
        none.
        """
        from IPython.display import display

        picture, about = plots.bundle(self.picture, self.sentence)
        words = {"text/html": self._words.value, "text/plain": self.caption}
        for widget, content, metadata in ((self._box, picture, about), (self._words, words, {})):
            view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
            display(
                {"application/vnd.jupyter.widget-view+json": view, **content},
                metadata=metadata,
                raw=True,
            )

    _ipython_display_ = show

    def _draw(self, key):
        picture, sentence = self._render(**self.settings), self._describe(**self.settings)
        picture = plots.png(picture) if isinstance(picture, Figure) else picture
        if not isinstance(picture, bytes) or not picture.startswith(b"\x89PNG"):
            raise TypeError(
                f"render returned {type(picture).__name__}, expected a matplotlib Figure or the"
                " bytes of a PNG"
            )
        return picture, plots.sentence("what describe returned", sentence)

    def _follow(self, change=None):
        if self._held:
            return
        try:  # an option is remembered by its place, because options need not be hashable
            key = tuple(
                getattr(control, "index", control.value) for control in self.controls.values()
            )
            (self.picture, self.sentence), self.error = self._remembered(key), None
        except Exception as error:
            # raised from a handler, it would end in a log that no reader sees
            at = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
            self.sentence = (
                f"Nothing could be drawn at {at}. {type(error).__name__}: {error}. The picture is"
                " the one before."
            )
            self.error = error
        # else it is stretched over the cell and blurs
        self._image.layout.width = f"{plots.shown_width(self.picture)}px"
        self._image.value = self.picture
        self._words.value = f"{html.escape(self.sentence)}<br><em>{html.escape(self.caption)}</em>"
