"""Sounds, seen and heard."""

import html

from matplotlib.figure import Figure

from course_utils.look import INK, axes, captioned


@captioned
def spectrograms(sounds: dict, rate: int) -> Figure:
    """Pictures of sounds (S,): time to the right in seconds, frequency upwards in kHz, dark
    where it is loud (dB).
    """
    import numpy as np

    _check_sounds(sounds)
    figure, grid = axes(height=2.4, columns=len(sounds), squeeze=False, sharey=True)
    for ax, (name, sound) in zip(grid.flat, sounds.items()):
        x = np.asarray(sound, dtype=float)
        with np.errstate(divide="ignore"):  # silence is -inf dB, drawn white
            picture = ax.specgram(x, NFFT=256, noverlap=192, Fs=rate, cmap="Greys")[3]
        loudest = picture.get_clim()[1] if x.any() else 0.0
        picture.set_clim(loudest - 60, loudest)
        kilohertz = range(rate // 2000 + 1)
        ax.set_yticks([1000 * k for k in kilohertz], [str(k) for k in kilohertz])
        ax.set_title(name, fontsize=10, color=INK)
        ax.set_xlabel("time (s)")
    grid.flat[0].set_ylabel("frequency (kHz)")
    return figure


def listen(sounds: dict, rate: int, *, caption: str) -> None:
    """The `spectrograms` of sounds (S,) with their `players` below. A player's bytes are
    compared in the notebook's test: play shipped int16 clips, or tag the cell.
    """
    spectrograms(sounds, rate, caption=caption)
    players(sounds, rate)


def players(sounds: dict, rate: int) -> None:
    """A small sound player for each name, for sounds (S,) of float or int16 samples at `rate`
    Hz.
    """
    import numpy as np
    from IPython.display import HTML, Audio, display

    _check_sounds(sounds)
    cells = ""
    for name, sound in sounds.items():
        source = Audio(np.asarray(sound), rate=rate).src_attr()
        cells += (
            f'<div style="margin:2px 12px 6px 0">{html.escape(name)}<br>'
            f'<audio controls src="{source}" style="width:210px;height:34px"></audio></div>'
        )
    display(HTML(f'<div style="display:flex;flex-wrap:wrap">{cells}</div>'))


def _check_sounds(sounds: dict) -> None:
    import numpy as np

    for name, sound in sounds.items():
        if np.ndim(sound) != 1:
            raise ValueError(f"sounds[{name!r}]: expected shape (S,), got {np.shape(sound)}")
