import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.errors import DataError, UsageError
from asr.features import LogMelConfig
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.lhotse import lhotse_corpus, lhotse_names
from asr.preparation.manifests import ManifestOptions, manifest_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.store.export import export_lhotse, export_nemo
from asr.store.source import Source
from asr.store.store import AudioStore, FeatureStore

QUICK = PrepareOptions(quiet=True, speeds=(0.9,))


def test_sources_are_read_back() -> None:
    source = Source.parse("a b.wav + c#1.wav#t=0.5,3.25&speed=1.1")
    assert source == Source(("a b.wav", "c#1.wav"), 0.5, 3.25, 1.1)
    for name in ("a.wav", "a#b.wav", "t#t=a.wav"):
        assert Source.parse(name) == Source((name,))
    part = Source(("a#b.wav",), 12345.678901, 12350.5, 0.9)
    assert str(part) == "a#b.wav#t=12345.678901,12350.5&speed=0.9"
    channels = Source(("a#b.wav",), speed=0.9, channels=(0, 2))
    assert str(channels) == "a#b.wav#channels=0,2&speed=0.9"
    for source in (part, channels, Source(("a.wav",), 1.5), Source(("a.wav",), 0.0, 2.0)):
        assert Source.parse(str(source)) == source


def test_a_nemo_manifest_prepares_to_the_same_store(toy: Corpus, source: Path, tmp_path: Path) -> None:
    prepare(toy, tmp_path / "first", QUICK)
    first = FeatureStore.open(tmp_path / "first" / "train")
    written = export_nemo(first, tmp_path / "train.jsonl", source)
    assert (written.utterances, written.left_out) == (18, 18)
    options = ManifestOptions(features=LogMelConfig(sample_rate=8_000, n_mels=20))
    corpus = manifest_corpus("again", {"train": tmp_path / "train.jsonl"}, options)
    prepare(corpus, tmp_path / "second", replace(QUICK, speeds=()))
    second = FeatureStore.open(tmp_path / "second" / "train")
    assert list(second.texts) == list(first.texts)[::2]
    for number in range(len(second)):
        np.testing.assert_array_equal(second[number].features, first[2 * number].features)
    with pytest.raises(DataError, match="--root FOLDER"):
        export_nemo(first, tmp_path / "train.jsonl", tmp_path)


def test_an_audio_store_exports_its_waveforms(toy: Corpus, tmp_path: Path) -> None:
    prepare(toy, tmp_path / "out", replace(QUICK, kind="audio"))
    store = AudioStore.open(tmp_path / "out" / "train")
    assert export_nemo(store, tmp_path / "train.jsonl", tmp_path).utterances == 36
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    for row, utterance in zip(rows, store, strict=True):
        samples, rate = soundfile.read(row["audio_filepath"], dtype="int16")
        assert rate == 8_000
        np.testing.assert_array_equal(samples, utterance.samples)
        assert row["text"] == utterance.text


def test_ids_that_differ_are_files_that_differ(toy: Corpus, source: Path, tmp_path: Path) -> None:
    ids = ["a/b", "a_b", "a%2Fb", "a:b", ".a", "%2Ea", "a\\b", "é"]
    audio = source / "wav" / "train-01.wav"

    def parse(_: Path) -> Iterator[RawUtterance]:
        yield from (RawUtterance(name, audio, "so it is", "one", "train") for name in ids)

    prepare(replace(toy, parse=parse), tmp_path / "out", replace(QUICK, kind="audio", speeds=()))
    export_nemo(AudioStore.open(tmp_path / "out" / "train"), tmp_path / "train.jsonl", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    paths = {Path(row["audio_filepath"]) for row in rows}
    assert len(paths) == len(ids)
    assert all(path.parent == tmp_path / "train-audio" and not path.name.startswith(".") for path in paths)


def test_lhotse_reads_the_cuts(toy: Corpus, source: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    prepare(toy, tmp_path / "out", QUICK)
    store = FeatureStore.open(tmp_path / "out" / "train")
    export_lhotse(store, tmp_path / "cuts.jsonl.gz", source)
    cuts = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    for number, cut in enumerate(cuts):
        assert cut.supervisions[0].text == store.texts[2 * number]
        assert cut.load_audio().shape[1] == round(store.durations_seconds[2 * number] * 8_000)


def test_lhotse_recipes(tmp_path: Path, say: Any) -> None:
    pytest.importorskip("lhotse", reason="lhotse is not installed")
    # The recipe wants exactly sixty.
    for number in range(60):
        say(tmp_path / "waves_yesno" / f"0_0_{'_'.join(f'{number:06b}')}.wav", 0.1, number)
    corpus = lhotse_corpus("yesno", tmp_path / "waves_yesno")
    rows = list(corpus.parse(tmp_path))
    assert {row.split for row in rows} == set(corpus.splits) == {"train", "test"}
    assert {row.text.split()[0] for row in rows} == {"NO"}
    assert len(rows) == 60
    assert len(lhotse_names()) > 50
    with pytest.raises(UsageError, match="did you mean 'yesno'"):
        lhotse_corpus("yesnoo", tmp_path)


def fake_recipe(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    import lhotse.recipes

    monkeypatch.setattr(lhotse.recipes, "prepare_toy", lambda _corpus_dir: result, raising=False)


def test_lhotse_channels_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lhotse", reason="lhotse is not installed")
    from lhotse import RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource, Recording

    rng = np.random.default_rng(1)
    left, right, third = 0.1 * rng.standard_normal((3, 8_000))
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 8_000, subtype="FLOAT")
    soundfile.write(tmp_path / "one.wav", third, 8_000, subtype="FLOAT")
    sources = [
        AudioSource("file", [0, 1], str(tmp_path / "two.wav")),
        AudioSource("file", [2], str(tmp_path / "one.wav")),
    ]
    recording = Recording("r", sources, 8_000, 8_000, 1.0)
    wanted: dict[str, Any] = {"left": 0, "right": 1, "both": [0, 1], "third": 2}

    def manifests(channels: dict[str, Any], recording_id: str = "r") -> dict[str, Any]:
        segments = [
            SupervisionSegment(name, recording_id, 0, 1.0, channel=channel, text="so it is")
            for name, channel in channels.items()
        ]
        supervisions = SupervisionSet.from_segments(segments)
        return {"recordings": RecordingSet.from_recordings([recording]), "supervisions": supervisions}

    fake_recipe(monkeypatch, {"de": {"train": manifests(wanted)}})
    corpus = lhotse_corpus("toy", tmp_path)
    assert corpus.train_splits == corpus.splits == ("de-train",)
    corpus = replace(corpus, features=LogMelConfig(sample_rate=8_000, n_mels=20))
    prepare(corpus, tmp_path / "out", PrepareOptions(quiet=True, kind="audio"))
    store = AudioStore.open(tmp_path / "out" / "de-train")
    expected = {"left": left, "right": right, "both": (left + right) / 2, "third": third}
    assert list(store.ids) == list(expected)
    for utterance in store:
        np.testing.assert_allclose(utterance.samples / 32768, expected[utterance.id], atol=1e-4)
    assert list(store.sources) == ["two.wav#channels=0", "two.wav#channels=1", "two.wav", "one.wav"]
    prepare(corpus, tmp_path / "features", PrepareOptions(quiet=True))
    # A manifest cannot name one channel of a recording.
    written = export_nemo(FeatureStore.open(tmp_path / "features" / "de-train"), tmp_path / "all.jsonl", tmp_path)
    assert (written.utterances, written.left_out) == (2, 2)
    for result, message in (
        (manifests({"x": [1, 2]}), r"channels \[1, 2\] of r; expected those of one of its files"),
        (manifests({"x": 7}), r"channels \[7\] of r"),
        (manifests({"x": 0}, "gone"), "the recording 'gone', which its recipe does not name"),
    ):
        fake_recipe(monkeypatch, result)
        with pytest.raises(DataError, match=message):
            list(lhotse_corpus("toy", tmp_path).parse(tmp_path))
    for nothing, message in ((recording, "returned Recording; expected"), ({"cuts": 1}, r"returned keys \['cuts'\]")):
        fake_recipe(monkeypatch, nothing)
        with pytest.raises(DataError, match=message):
            lhotse_corpus("toy", tmp_path)
