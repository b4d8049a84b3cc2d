"""Waveforms → augmented features in torch, on the device that trains: for GPUs, which outrun a CPU that does this.

For the same draws it gives what `asr.training.waveforms` and `asr.training.augment` give in NumPy, but for rounding.
Nothing here waits for the device: all lengths are known beforehand.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import conv1d, pad
from torch.nn.utils.rnn import pad_sequence

from asr.audio import resample
from asr.training.augment import FAINTEST, LOUDEST, NOISE_STD
from asr.training.draws import TEXTURE, Drawn, WaveformDraw
from asr.training.waveforms import NOTHING, Sound, Waveforms, played_samples, quiet_samples

# Half the length of the resampler's impulse response, in samples of the slower of both rates: beyond it, it is under
# 1e-7 of its peak.
REACH = 128
# Outputs of the resampler at the beginning that are no convolution.
FIRST = 16


class WaveformsOnDevice:
    """The augmented features of an audio store's utterances, computed on a device.

    Parameters
    ----------
    waveforms : Waveforms
        Which read the store and draw.
    device : device
    """

    def __init__(self, waveforms: Waveforms, device: torch.device) -> None:
        self.waveforms = waveforms
        self.device = device
        self.config = config = waveforms.store.config
        self._filters = torch.from_numpy(waveforms.log_mel.filterbank.T.copy()).to(device)
        self._window = torch.hann_window(config.window_samples, dtype=torch.float64).float().to(device)
        self._texture = torch.from_numpy(TEXTURE).to(device)
        self._kernels: dict[float, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def __call__(
        self, rows: Sequence[Drawn | NDArray[np.float32]], average: NDArray[np.float32] | None, views: int
    ) -> tuple[Tensor, Tensor]:
        """Return the features of utterances, padded with zeros.

        Parameters
        ----------
        rows : sequence of Drawn or ndarray
            What was drawn for each utterance; of utterances of noise, their samples ``(num_samples,)`` float32.
        average : ndarray, shape (F,), float32, or None
            What masks set features to; None: the mean of the utterance.
        views : int

        Returns
        -------
        features : Tensor, shape (views · B, T, F), float32
            On the device; utterance b is in the rows b, B + b, ….
        lengths : Tensor, shape (views · B,), int64
            On the CPU.
        """
        drawn = [row if isinstance(row, Drawn) else None for row in rows]
        sounds = [
            self.waveforms.sound(row.index, row.waveform) if isinstance(row, Drawn) else Sound(row, NOTHING, NOTHING)
            for row in rows
        ]
        waves = [
            self._altered(one.waveform, *parts) if one else parts[0]
            for one, parts in zip(drawn, self._moved(sounds), strict=True)
        ]
        num_samples = np.array([len(wave) for wave in waves])
        heard = self.config.num_frames(num_samples)
        pairs = zip(drawn, heard.tolist(), strict=True)
        lengths = np.array([one.features.num_frames if one else num_frames for one, num_frames in pairs])
        frequency = np.array([one.features.frequency if one else 1.0 for one in drawn])
        x = self._log_mel(pad_sequence(waves, batch_first=True))
        x = _stretched(x, int(lengths.max()), *self._numbers(heard, lengths, frequency))
        self._add_floors(x, drawn, lengths)
        return self._masked(x, drawn, lengths, average, views), torch.from_numpy(np.tile(lengths, views))

    def _moved(self, sounds: Sequence[Sound]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return samples, impulse response and noise of each sound on the device; all go there in one piece."""
        arrays = [x for sound in sounds for x in (sound.samples, sound.response, sound.noise)]
        flat = torch.empty(sum(map(len, arrays)), pin_memory=self.device.type == "cuda")
        np.concatenate(arrays, out=flat.numpy())
        parts = torch.split(flat.to(self.device, non_blocking=True), [len(x) for x in arrays])
        return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))

    def _numbers(self, *arrays: NDArray[np.generic]) -> list[Tensor]:
        return [torch.from_numpy(array).to(self.device, non_blocking=True) for array in arrays]

    def _altered(self, draw: WaveformDraw, samples: Tensor, response: Tensor, noise: Tensor) -> Tensor:
        """Return a waveform ``(num_samples,)`` as drawn."""
        if draw.speed != 1:
            samples = self._played(samples, draw.speed)
        power = _power(samples)
        if draw.before or draw.after:
            samples = self._between_pauses(samples, draw.before, draw.after, draw.texture)
        if len(response):
            samples = _reverberated(samples, response)
        if len(noise):
            # A silent piece stays silent: zero times whatever is finite.
            ratio = torch.sqrt(power / _power(noise).clamp(min=torch.finfo(noise.dtype).tiny))
            samples = samples + noise * (ratio * 10 ** (-draw.snr_db / 20))
        return (samples * draw.gain).clamp(-1, 1)

    def _played(self, samples: Tensor, speed: float) -> Tensor:
        """Return `samples` played at `speed`, by the kernels of the resampler that the CPU has."""
        rate = self.config.sample_rate
        if speed not in self._kernels:
            kernels = resampling_kernels(round(rate * speed), rate)
            self._kernels[speed] = tuple(torch.from_numpy(kernel).to(self.device) for kernel in kernels)
        first, kernel = self._kernels[speed]
        made, _, width = kernel.shape
        taken = made * round(rate * speed) // rate
        reach = (width - taken) // 2
        wanted = int(played_samples(len(samples), speed, rate))
        blocks = -(-wanted // made)
        after = max(0, (blocks - 1) * taken + width - reach - len(samples))
        played = conv1d(pad(samples, (reach, after))[None], kernel, stride=taken)[:, :blocks].T.reshape(-1)
        known = samples[: first.shape[1]]
        return torch.cat((first[:, : len(known)] @ known, played[len(first) :]))[:wanted]

    def _between_pauses(self, samples: Tensor, before: int, after: int, texture: int) -> Tensor:
        width = quiet_samples(len(samples), self.config.sample_rate)
        stretches = samples[: len(samples) // width * width].reshape(-1, width)
        quietest = stretches.index_select(0, stretches.square().sum(1).argmin().reshape(1))[0]
        white = self._texture_from(torch.tensor([texture]), before + after + width - 1)[0]
        tone = _convolved(white, quietest / math.sqrt(width))[width - 1 : before + after + width - 1]
        return torch.cat((tone[:before], samples, tone[before:]))

    def _texture_from(self, starts: Tensor, count: int) -> Tensor:
        """Return ``(N, count)`` numbers of the texture from each of `starts` ``(N,)`` on, round and round."""
        places = starts.to(self.device, non_blocking=True)[:, None] + torch.arange(count, device=self.device)
        return self._texture[places % len(self._texture)]

    def _log_mel(self, waves: Tensor) -> Tensor:
        """Return the features ``(B, T, F)`` of waveforms ``(B, num_samples)``, as `asr.features.LogMel` does."""
        config = self.config
        T = config.num_frames(waves.shape[1])
        before = config.window_samples // 2
        after = (T - 1) * config.hop_samples + config.window_samples - before - waves.shape[1]
        frames = pad(waves, (before, max(0, after))).unfold(1, config.window_samples, config.hop_samples)[:, :T]
        spectrum = torch.fft.rfft(frames * self._window)
        power = spectrum.real.square() + spectrum.imag.square()
        features: Tensor = (power @ self._filters).clamp(min=config.floor).log()
        return features

    def _add_floors(self, x: Tensor, drawn: Sequence[Drawn | None], lengths: NDArray[np.int64]) -> None:
        """Lay the floors of noise that were drawn under features ``(B, T, F)``, in place."""
        floors = [(row, one.features.floor) for row, one in enumerate(drawn) if one and one.features.floor]
        if not floors:
            return
        rows = np.array([row for row, _ in floors])
        frames = lengths[rows]
        places = [np.array([round(part * (n - 1)) for n in frames.tolist()]) for part in (FAINTEST, LOUDEST)]
        level, tilt = (np.array([getattr(f, name) for _, f in floors], np.float32) for name in ("level", "tilt"))
        starts = torch.tensor([f.start for _, f in floors])
        at, counts, faint, loud, levels, tilts = self._numbers(rows, frames, *places, level, tilt)
        own = x[at]
        N, T, F = own.shape
        inside = torch.arange(T, device=self.device) < counts[:, None]
        means = own.mean(2).masked_fill(~inside, torch.inf).sort(1).values
        low, high = (means.gather(1, place[:, None]) for place in (faint, loud))
        spectrum = (own * inside[:, :, None]).sum(1) / counts[:, None]
        spectrum += low + levels[:, None] * (high - low) - spectrum.mean(1, keepdim=True)
        spectrum += tilts[:, None] * torch.linspace(-1, 1, F, device=self.device)
        floor = self._texture_from(starts, T * F).reshape(N, T, F) * NOISE_STD + spectrum[:, None]
        x[at] = torch.logaddexp(own, floor)

    def _masked(
        self,
        x: Tensor,
        drawn: Sequence[Drawn | None],
        lengths: NDArray[np.int64],
        average: NDArray[np.float32] | None,
        views: int,
    ) -> Tensor:
        """Return the views of features ``(B, T, F)``: masked as drawn, and zero beyond their lengths."""
        B, T, F = x.shape
        bands, frames = np.zeros((views, B, F), np.bool_), np.zeros((views, B, T), np.bool_)
        for row, one in enumerate(drawn):
            for view, masks in enumerate(one.masks if one else ()):
                bands[view, row], frames[view, row, : len(masks.frames)] = masks.bands, masks.frames
        by_band, by_frame, counts = self._numbers(bands, frames, lengths)
        inside = (torch.arange(T, device=self.device) < counts[:, None])[:, :, None]
        x = x * inside
        fill = x.sum(1, keepdim=True) / counts[:, None, None] if average is None else self._numbers(average)[0]
        hidden = by_band[:, :, None] | by_frame[:, :, :, None]
        masked: Tensor = torch.where(hidden, fill, x) * inside
        return masked.reshape(views * B, T, F)


def resampling_kernels(rate: int, wanted_rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what `asr.audio.resample` multiplies samples by, found by resampling impulses: it is linear.

    Returns
    -------
    first : ndarray, shape (FIRST, M), float32
        The first outputs are its product with the first M samples: soxr cuts off what would ring before them.
    kernel : ndarray, shape (p, 1, K), float32
        Of every q samples come p, where q / p is `rate` / `wanted_rate`: output p · n + r is the product of kernel r
        with the K = q + 2 · reach samples from q · n - reach on.
    """
    divisor = math.gcd(rate, wanted_rate)
    q, p = rate // divisor, wanted_rate // divisor
    reach = math.ceil(REACH * max(1, q / p))
    block = -(-reach // q)

    def response(place: int) -> NDArray[np.float32]:
        impulse = np.zeros(place + 2 * (reach + q), dtype=np.float32)
        impulse[place] = 1
        return resample(impulse, rate, wanted_rate)

    kernel = np.zeros((p, 1, q + 2 * reach), dtype=np.float32)
    # One block more, for the first outputs are others.
    shift = block + math.ceil(FIRST / p)
    for offset in range(q):
        heard = response(shift * q + offset)
        for n in range(shift - block, shift + block + 1):
            place = (shift - n) * q + offset + reach
            if 0 <= place < q + 2 * reach:
                outputs = heard[n * p : (n + 1) * p]
                kernel[: len(outputs), 0, place] = outputs
    first = np.stack([response(place)[:FIRST] for place in range(reach + math.ceil(FIRST * q / p))], axis=1)
    return first, kernel


def _power(samples: Tensor) -> Tensor:
    """Return the mean square, ``()``."""
    return samples.square().mean()


def _convolved(first: Tensor, second: Tensor) -> Tensor:
    """Return the convolution ``(N + M - 1,)`` of ``(N,)`` and ``(M,)``."""
    count = len(first) + len(second) - 1
    size = next_fast_len(count, real=True)
    convolved: Tensor = torch.fft.irfft(torch.fft.rfft(first, size) * torch.fft.rfft(second, size), size)
    return convolved[:count]


def _reverberated(samples: Tensor, response: Tensor) -> Tensor:
    """Return `samples` ``(num_samples,)`` as heard in a room: see `asr.training.waveforms.reverberate`."""
    # Of several loudest samples the first, as NumPy has it.
    loudness = response.abs()
    direct = (loudness == loudness.max()).int().argmax()
    places = direct + torch.arange(len(samples), device=samples.device)
    reverberant = _convolved(samples, response)[places]
    power = _power(reverberant)
    return torch.where(power > 0, reverberant * torch.sqrt(_power(samples) / power), samples)


def _stretched(x: Tensor, longest: int, heard: Tensor, lengths: Tensor, frequency: Tensor) -> Tensor:
    """Return features ``(B, T, F)``, `heard` ``(B,)`` frames each, stretched to `lengths` ``(B,)`` frames.

    By linear interpolation, as `asr.training.augment.stretch` does it; `frequency` ``(B,)`` is that of the mel axis.
    """
    last, F = (heard - 1).double()[:, None], x.shape[2]
    steps = last / (lengths - 1).clamp(min=1)[:, None]
    at = torch.minimum(torch.arange(longest, device=x.device) * steps, last)
    x = _interpolated(x, at, 1)
    bands = (torch.arange(F, device=x.device) / frequency[:, None]).clamp(max=F - 1)
    return _interpolated(x, bands, 2)


def _interpolated(x: Tensor, at: Tensor, axis: int) -> Tensor:
    """Interpolate ``(B, T, F)`` linearly along `axis` at fractional places ``(B, N)``."""
    below = at.long()
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    shape = list(x.shape)
    shape[axis] = at.shape[1]
    lower, upper, part = (y.unsqueeze(3 - axis).expand(shape) for y in (below, above, (at - below).to(x.dtype)))
    return torch.lerp(x.gather(axis, lower), x.gather(axis, upper), part)
