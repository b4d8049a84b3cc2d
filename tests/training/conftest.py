"""For all tests of training."""

import importlib.util
import json

import numpy as np
import pytest
import soundfile

from asr.features import LogMelConfig
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.options import PrepareOptions
from asr.preparation.parsing import read_lines
from asr.preparation.prepare import prepare
from asr.training.config import WaveformAugmentConfig
from data_prep.noise import CORPUS as NOISE

RATE = 8_000


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    """A page of curves takes a second to draw."""
    if importlib.util.find_spec("torch"):
        monkeypatch.setattr("asr.training.report.draw", lambda _rows: "<svg></svg>")


def parse(root):
    for line in read_lines(root / "list.jsonl"):
        name = json.loads(line)
        yield RawUtterance(name, root / f"{name}.wav", "so it is", "one", "train")


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """Stores of one corpus as features and as waveforms, of noise, and of impulse responses."""
    folder = tmp_path_factory.mktemp("waveforms")
    rng = np.random.default_rng(1)
    corpus, noise = folder / "corpus", folder / "RIRS_NOISES"
    for path in (corpus, noise / "rirs", noise / "noises"):
        path.mkdir(parents=True)
    names = [f"u{number}" for number in range(12)]
    (corpus / "list.jsonl").write_text("\n".join(map(json.dumps, names)))
    for name in names:
        samples = 0.1 * rng.standard_normal(int(rng.uniform(0.5, 1.5) * RATE))
        samples[: len(samples) // 3] *= 0.02
        soundfile.write(corpus / f"{name}.wav", samples, RATE, subtype="PCM_16")
    for number in range(3):
        response = rng.standard_normal(RATE // 4) * np.exp(-np.arange(RATE // 4) / 300) * 0.2
        response[50 * number] = 0.9
        soundfile.write(noise / "rirs" / f"{number}.wav", response, RATE)
        soundfile.write(noise / "noises" / f"{number}.wav", 0.3 * rng.standard_normal(RATE), RATE)
    toy = Corpus(
        name="toy", title="Toy", licence="none", parse=parse, splits=("train",), markers=("list.jsonl",),
        embedded=corpus, features=LogMelConfig(sample_rate=RATE, n_mels=20),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.preparation.prepare.write_report", lambda *_: None)
        prepare(toy, folder / "features", PrepareOptions(quiet=True))
        prepare(toy, folder / "audio", PrepareOptions(quiet=True, kind="audio"))
        for rate in (RATE, 16_000):
            options = PrepareOptions(quiet=True, source=noise, features=LogMelConfig(sample_rate=rate, n_mels=20))
            prepare(NOISE, folder / f"noise{rate}", options)
    return folder


@pytest.fixture
def waveform(stores):
    return WaveformAugmentConfig(
        speeds=(0.9, 1.0, 1.1),
        impulse_responses=str(stores / f"noise{RATE}" / "rir"),
        noises=str(stores / f"noise{RATE}" / "noise"),
        gain_db=6,
    )
