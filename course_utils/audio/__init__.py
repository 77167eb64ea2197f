"""Sound in, features out.

    sound, mask = pad([open_sound(file, 8_000) for file in files])   # (B, S) float, (B, S) bool
    tokens, heard = log_mel(sound, mask)                             # (B, T, 40), (B, T) bool
    vectors = mfcc_features(sound, mask)                             # (B, 104)

Samples stand first and padding after them. What stands in the padding never matters, not even NaN,
and a sound without a sample gives zeros and stays marked as missing. The names of the options are
torchaudio's.

Where what stands: `sounds` checks what comes in and has the windows of the others, `bands` has
the features of the running example, `spectra` all that goes over frames: spectra, mel filters,
cepstra.
"""

from course_utils.lazy import by_name

# The module of each name; it is imported when the name is first asked for.
HOMES = {
    "lengths": "sounds",
    "check_sound": "sounds",
    "WINDOW": "sounds",
    "HOP": "sounds",
    "BANDS": "sounds",
    "SEGMENTS": "sounds",
    "band_features": "bands",
    "ROWS": "spectra",
    "NORMS": "spectra",
    "MEL_SCALES": "spectra",
    "mfcc_features": "spectra",
    "frames": "spectra",
    "power_spectrogram": "spectra",
    "mel_filters": "spectra",
    "log_mel": "spectra",
    "dct": "spectra",
    "mfcc": "spectra",
    # where it stands, because tables of sounds, a floor below, read them too
    "open_sound": "course_utils.datasets.files",
}
__getattr__, __dir__, __all__ = by_name(__name__, HOMES)
