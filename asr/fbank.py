"""Waveform → the log-mel features of models that other toolkits trained: NeMo, Hugging Face, Kaldi, SenseVoice.

They differ in all that can differ: where frames lie, pre-emphasis, window, mel scale, the logarithm's guard, how an
utterance is normalised, whether frames are stacked. `asr.features` has the features of our own models.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr.errors import UsageError
from asr.features import check_waveform
from asr.settings import check_types

# Frames whose spectra are held at once.
BLOCK_FRAMES = 512
# What Kaldi and torchaudio take the logarithm of at least: the difference between 1 and the next float32.
KALDI_FLOOR = float(np.finfo(np.float32).eps)

Framing = Literal["centred", "whole", "mirrored"]
Window = Literal["hann", "hann-periodic", "hamming", "povey"]


@dataclass(frozen=True)
class FbankConfig:
    """What the features are; stored in the bundles of converted models.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of mel bands.
    window_samples, hop_samples, n_fft : int
        Length of a frame, distance between two frames and length of the Fourier transform, in samples.
    framing : {"centred", "whole", "mirrored"}
        "centred": frame t is centred on sample t · hop, with zeros before and after the audio; one for each whole hop.
        "whole": frames lie within the audio (Kaldi's ``snip_edges=true``). "mirrored": one frame per hop, rounded, with
        the audio mirrored at its ends (``snip_edges=false``).
    window : {"hann", "hann-periodic", "hamming", "povey"}
        All but "hann-periodic" are symmetric; "povey" is Hann's to the power of 0.85.
    preemphasis : float
        The share of the sample before that is subtracted from each.
    preemphasis_of : {"signal", "frame"}
        Whether the first sample of the audio, or of each frame, has none before it; Kaldi's frames repeat it.
    remove_dc : bool
        Whether each frame's mean is subtracted first.
    scale : float
        What amplitudes in [-1, 1] are multiplied by first: 32768 where the model knows 16-bit numbers.
    mel_scale : {"slaney", "kaldi"}
        "slaney": librosa's triangles over Hz, of equal area. "kaldi": triangles over mel, of equal height.
    low_hz, high_hz : float
        Lower edge of the lowest band and upper edge of the highest, in Hz; a `high_hz` of 0 or less counts from half
        the sample rate.
    guard : {"add", "floor"}
        Whether the logarithm is that of ``energy + epsilon`` or of ``max(energy, epsilon)``.
    epsilon : float
    normalise : bool
        Whether each band gets zero mean and unit deviation over the utterance; the deviation is that of a sample
        (n - 1).
    std_epsilon, variance_epsilon : float
        Added to the deviation, or to its square.
    stack, stack_hop : int
        Frames that are stacked to one, and the distance from one of these to the next in frames.
    stack_padding : bool
        Whether the first frame is repeated before the start and the last after the end, as SenseVoice does, so that
        there is one for each `stack_hop` frames; else frames that fill no stack are left out.
    shift, factor : tuple of float
        Added to each value of a frame, and what it is then multiplied by; empty for none.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """

    sample_rate: int = 16_000
    n_mels: int = 80
    window_samples: int = 400
    hop_samples: int = 160
    n_fft: int = 512
    framing: Framing = "centred"
    window: Window = "hann"
    preemphasis: float = 0.97
    preemphasis_of: Literal["signal", "frame"] = "signal"
    remove_dc: bool = False
    scale: float = 1.0
    mel_scale: Literal["slaney", "kaldi"] = "slaney"
    low_hz: float = 0.0
    high_hz: float = 0.0
    guard: Literal["add", "floor"] = "add"
    epsilon: float = 2.0**-24
    normalise: bool = True
    std_epsilon: float = 1e-5
    variance_epsilon: float = 0.0
    stack: int = 1
    stack_hop: int = 1
    stack_padding: bool = False
    shift: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "front_end")
        for name in (
            "sample_rate",
            "n_mels",
            "window_samples",
            "hop_samples",
            "epsilon",
            "scale",
            "stack",
            "stack_hop",
        ):
            if getattr(self, name) <= 0:
                raise UsageError(f"front_end.{name} is {getattr(self, name)}; expected a positive number")
        if self.n_fft < self.window_samples or self.window_samples < 2:
            raise UsageError(
                f"front_end: a window of {self.window_samples} samples and a Fourier transform of {self.n_fft}; "
                "expected at least 2, and at least the window"
            )
        if not 0 <= self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise UsageError(
                f"front_end: got the band {self.low_hz}–{self.top_hz} Hz; expected 0 ≤ low_hz < high_hz ≤ "
                f"{self.sample_rate / 2} (half the sample rate)"
            )
        for name in ("shift", "factor"):
            if len(getattr(self, name)) not in (0, self.width):
                raise UsageError(f"front_end.{name} has {len(getattr(self, name))} values; expected {self.width}")

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest band in Hz."""
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2 + self.high_hz

    @property
    def width(self) -> int:
        """Values of a frame."""
        return self.n_mels * self.stack

    @property
    def frame_samples(self) -> int:
        """Samples from one frame to the next, stacked ones where frames are stacked."""
        return self.hop_samples * self.stack_hop


# Named by whose they are. NeMo: AudioToMelSpectrogramPreprocessor's FilterbankFeatures, without dither.
NEMO = FbankConfig()
_KALDI = FbankConfig(
    framing="whole", window="povey", preemphasis_of="frame", remove_dc=True, mel_scale="kaldi", low_hz=20.0,
    guard="floor", epsilon=KALDI_FLOOR, normalise=False, std_epsilon=0.0,
)  # fmt: skip
PRESETS = {
    "nemo": NEMO,
    # transformers' ParakeetFeatureExtractor has NeMo's.
    "parakeet": NEMO,
    # LasrFeatureExtractor, of MedASR.
    "lasr": FbankConfig(
        n_mels=128, framing="whole", preemphasis=0.0, mel_scale="kaldi", low_hz=125.0, high_hz=7500.0, guard="floor",
        epsilon=1e-5, normalise=False, std_epsilon=0.0,
    ),
    # SeamlessM4TFeatureExtractor, of w2v-BERT 2.0.
    "seamless": replace(
        _KALDI, scale=32768.0, normalise=True, variance_epsilon=1e-7, stack=2, stack_hop=2,
    ),
    # torchaudio.compliance.kaldi.fbank with its defaults, of 16-bit numbers and without dither; WeNet's.
    "kaldi": replace(_KALDI, scale=32768.0),
    # icefall's: lhotse's and kaldi-native-fbank's defaults.
    "icefall": replace(_KALDI, framing="mirrored", high_hz=-400.0),
    "sense-voice": replace(_KALDI, scale=32768.0, window="hamming", stack=7, stack_hop=6, stack_padding=True),
}  # fmt: skip


class Fbank:
    """Features of one utterance after another.

    Parameters
    ----------
    config : FbankConfig
    """

    def __init__(self, config: FbankConfig) -> None:
        self.config = config
        self.width, self.sample_rate = config.width, config.sample_rate
        self._window = _window(config)
        self._filters = mel_filters(config)

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the features of `samples`.

        Parameters
        ----------
        samples : ndarray, shape (num_samples,), float32 or float64
            Amplitudes in [-1, 1] at ``config.sample_rate``.

        Returns
        -------
        ndarray, shape (num_frames, width), float32
            No frame where the audio is shorter than one.

        Raises
        ------
        AudioError
            As `asr.features.check_waveform`.
        """
        check_waveform(samples)
        config = self.config
        # In float64, as the original of w2v-BERT: faint bands beside loud ones have few digits in float32.
        x = samples.astype(np.float64) * config.scale
        if config.preemphasis_of == "signal" and config.preemphasis:
            x[1:] -= config.preemphasis * x[:-1].copy()
        bands = [np.zeros((0, config.n_mels))]
        bands += [self._log_mel(frames) for frames in _frames(x, config)]
        features = np.concatenate(bands)
        if config.normalise and len(features):
            features = _normalise(features, config)
        features = _stack(features, config)
        if config.shift:
            features = features + np.array(config.shift)
        if config.factor:
            features = features * np.array(config.factor)
        return features.astype(np.float32)

    def _log_mel(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms of mel energies ``(T, n_mels)`` of frames ``(T, window_samples)``."""
        from scipy.fft import rfft

        config = self.config
        if config.remove_dc:
            frames = frames - frames.mean(axis=1, keepdims=True)
        if config.preemphasis_of == "frame" and config.preemphasis:
            frames = frames - config.preemphasis * np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
        spectrum = rfft(frames * self._window, config.n_fft, axis=1)
        energy = (np.square(spectrum.real) + np.square(spectrum.imag)) @ self._filters
        guarded = energy + config.epsilon if config.guard == "add" else np.maximum(energy, config.epsilon)
        logarithm: NDArray[np.float64] = np.log(guarded)
        return logarithm


def num_frames(num_samples: int, config: FbankConfig) -> int:
    """Return the number of frames, before they are stacked."""
    hop = config.hop_samples
    if config.framing == "whole":
        return max(0, 1 + (num_samples - config.window_samples) // hop)
    # NeMo computes one frame more, and tells its networks to ignore it.
    return num_samples // hop if config.framing == "centred" else (num_samples + hop // 2) // hop


def mel_filters(config: FbankConfig) -> NDArray[np.float64]:
    """Return the mel filters, ``(n_fft // 2 + 1, n_mels)``."""
    hz = np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1)
    to_mel = _slaney_mel if config.mel_scale == "slaney" else _kaldi_mel
    low, high = to_mel(np.array([config.low_hz, config.top_hz]))
    edges = np.linspace(low, high, config.n_mels + 2)
    points = to_mel(hz)
    if config.mel_scale == "slaney":
        edges, points = _slaney_hz(edges), hz
    rising = (points[:, None] - edges[:-2]) / np.diff(edges[:-1])
    falling = (edges[2:] - points[:, None]) / np.diff(edges[1:])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if config.mel_scale == "slaney":
        filters *= 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(filters)


def _kaldi_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(hz / 700.0))


# Slaney, "Auditory Toolbox" (1998): linear up to 1000 Hz, 15 mel, logarithmic above, 27 mel to a factor of 6.4.
def _slaney_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4)
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, logarithmic)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def _window(config: FbankConfig) -> NDArray[np.float64]:
    size = config.window_samples
    periodic = config.window == "hann-periodic"
    cosine = np.cos(2 * np.pi * np.arange(size) / (size if periodic else size - 1))
    if config.window == "hamming":
        return np.asarray(0.54 - 0.46 * cosine)
    hann = 0.5 - 0.5 * cosine
    return np.asarray(np.maximum(hann, 0.0) ** 0.85 if config.window == "povey" else hann)


def _frames(x: NDArray[np.float64], config: FbankConfig) -> Iterator[NDArray[np.float64]]:
    """Yield the frames of samples, ``(T, window_samples)``, some at a time."""
    size, hop, count = config.window_samples, config.hop_samples, num_frames(len(x), config)
    if config.framing == "centred":
        # What is left of a window that is centred in a longer Fourier transform.
        x = np.pad(x, (size // 2, size))
    elif config.framing == "mirrored":
        before = size // 2 - hop // 2
        x = np.pad(x, (max(0, before), size), mode="symmetric")[max(0, -before) :]
    if count:
        views = np.lib.stride_tricks.sliding_window_view(x, size)[::hop][:count]
        for first in range(0, count, BLOCK_FRAMES):
            yield views[first : first + BLOCK_FRAMES]


def _normalise(features: NDArray[np.float64], config: FbankConfig) -> NDArray[np.float64]:
    centred = features - features.mean(axis=0)
    # Of a single frame, NeMo's deviation is not a number.
    variance = np.square(centred).sum(axis=0) / max(1, len(features) - 1)
    return np.asarray(centred / (np.sqrt(variance + config.variance_epsilon) + config.std_epsilon))


def _stack(features: NDArray[np.float64], config: FbankConfig) -> NDArray[np.float64]:
    """Return frames stacked, ``(T', stack * n_mels)``."""
    size, hop, T = config.stack, config.stack_hop, len(features)
    if size == 1 or not T:
        return features
    if config.stack_padding:
        count = -(-T // hop)
        before = (size - 1) // 2
        after = max(0, (count - 1) * hop + size - T - before)
        features = np.concatenate((*[features[:1]] * before, features, *[features[-1:]] * after))
    else:
        count = max(0, 1 + (T - size) // hop)
    return np.concatenate([features[i : i + hop * count : hop][:count] for i in range(size)], axis=1)
