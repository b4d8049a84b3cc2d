"""Small corpora made of noise, in WAV, each recording another."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile

from asr.features import LogMelConfig
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.parsing import find_audio, read_lines

# No test fails because a machine is busy.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

RATE = 8_000
WORDS = ("so", "it", "is", "and", "was", "until", "then")


def speak(path: Path, seconds: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * RATE)), RATE, subtype="PCM_16")


@pytest.fixture(autouse=True)
def reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the drawing of reports, but those that look at one."""
    if "report" not in request.node.name and "wrong" not in request.node.name:
        monkeypatch.setattr("asr.preparation.prepare.write_report", lambda *_: None)


@pytest.fixture
def say() -> Callable[[Path, float, int], None]:
    return speak


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A corpus of 23 utterances: list.jsonl, and wav/ by speaker."""
    folder = tmp_path / "toy"
    rows = []
    for number in range(23):
        rng = np.random.default_rng(number)
        split = "test" if number % 5 == 0 else "train"
        name = f"{split}-{number:02d}"
        speak(folder / "wav" / f"{name}.wav", float(rng.uniform(0.4, 1.2)), number)
        rows.append({"id": name, "text": " ".join(rng.choice(WORDS, 3)).upper(), "split": split})
    (folder / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def parse(root: Path) -> Iterator[RawUtterance]:
    for line in read_lines(root / "list.jsonl"):
        row = json.loads(line)
        yield RawUtterance(row["id"], find_audio(root / "wav", row["id"]), row["text"], "one", row["split"])


@pytest.fixture
def toy(source: Path) -> Corpus:
    return Corpus(
        name="toy",
        title="Toy",
        licence="none",
        parse=parse,
        splits=("train", "test", "extra"),
        on_request=("extra",),
        markers=("list.jsonl",),
        embedded=source,
        features=LogMelConfig(sample_rate=RATE, n_mels=20),
    )
