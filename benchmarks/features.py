"""Log-mel features: ours beside librosa and torchaudio, in one process on one core.

    python benchmarks/features.py [FILE ...]

Without files it makes audio as long as AN4's utterances (1 to 6 s), and ten minutes in one piece. It checks first that
all three give the same values. The best of several rounds counts, the three taking turns within each.
"""

# ruff: noqa: E402 - the libraries read their number of threads when they are imported
import os

for _library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from asr.audio import load_audio
from asr.features import LogMel, LogMelConfig

Features = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CONFIG = LogMelConfig()
ROUNDS = 7


def librosa_log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=CONFIG.sample_rate,
        n_fft=CONFIG.window_samples,
        hop_length=CONFIG.hop_samples,
        n_mels=CONFIG.n_mels,
        pad_mode="constant",
    )
    return np.asarray(np.log(np.maximum(mel, CONFIG.floor)).T)


def torchaudio_log_mel() -> Features:
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=CONFIG.sample_rate,
        n_fft=CONFIG.window_samples,
        hop_length=CONFIG.hop_samples,
        n_mels=CONFIG.n_mels,
        norm="slaney",
        mel_scale="slaney",
        pad_mode="constant",
    )

    @torch.inference_mode()
    def features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(transform(torch.from_numpy(samples)).clamp_min(CONFIG.floor).log().numpy().T)

    return features


def make_audio(rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """Noise whose loudness rises and falls as in speech."""
    samples = rng.standard_normal(round(seconds * CONFIG.sample_rate), dtype=np.float32)
    return 0.1 * samples * np.abs(np.sin(np.arange(len(samples), dtype=np.float32) / 3000))


def best_seconds(systems: dict[str, Features], recordings: list[NDArray[np.float32]]) -> dict[str, float]:
    """Return the shortest time of each system over all recordings."""
    best = dict.fromkeys(systems, np.inf)
    for _ in range(ROUNDS):
        for name, features in systems.items():
            start = time.perf_counter()
            for samples in recordings:
                features(samples)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def report(title: str, systems: dict[str, Features], recordings: list[NDArray[np.float32]]) -> None:
    for samples in recordings[:10]:
        ours, *others = (features(samples) for features in systems.values())
        for other in others:
            np.testing.assert_allclose(ours, other, rtol=0, atol=1e-3)
    audio_seconds = sum(map(len, recordings)) / CONFIG.sample_rate
    best = best_seconds(systems, recordings)
    print(f"{title}: {len(recordings)} recordings, {audio_seconds:.0f} s")
    for name, seconds in best.items():
        print(
            f"  {name:<10} {audio_seconds / seconds:7.0f} × real time   ours is {seconds / best['ours']:.2f} × as fast"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="audio to use instead of made-up utterances")
    files = parser.parse_args().files
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    systems: dict[str, Features] = {
        "ours": LogMel(CONFIG),
        "librosa": librosa_log_mel,
        "torchaudio": torchaudio_log_mel(),
    }
    if files:
        recordings = [load_audio(path, CONFIG.sample_rate).samples for path in files]
    else:
        recordings = [make_audio(rng, seconds) for seconds in rng.uniform(1, 6, size=60)]
    report("utterances", systems, recordings)
    report("one long recording", systems, [make_audio(rng, 600)])


if __name__ == "__main__":
    main()
