import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.corpus import Corpus, PrepareOptions, prepare
from asr.data.export import Source, export_lhotse, export_nemo, parse_source
from asr.data.manifests import ManifestOptions, manifest_corpus
from asr.data.store import AudioStore, FeatureStore
from asr.data.tasks import source_of
from asr.errors import DataError
from asr.features import LogMelConfig

QUICK = PrepareOptions(quiet=True, speeds=(0.9,))


def test_sources_are_read_back() -> None:
    source = parse_source("a b.wav + c#1.wav#t=0.5,3.25&speed=1.1")
    assert (source.files, source.start_seconds, source.speed) == (("a b.wav", "c#1.wav"), 0.5, 1.1)
    for name in ("a.wav", "a#b.wav", "t#t=a.wav"):
        assert parse_source(name) == Source((name,), 0.0, 1.0)
    planned = {"files": [(0, "a#b.wav", 1)], "start": 12345.678901, "end": 12350.5, "speed": 0.9}
    assert source_of(planned) == "a#b.wav#t=12345.678901,12350.5&speed=0.9"
    assert parse_source(source_of(planned)) == Source(("a#b.wav",), 12345.678901, 0.9)


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


def test_lhotse_reads_the_cuts(toy: Corpus, source: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    prepare(toy, tmp_path / "out", QUICK)
    store = FeatureStore.open(tmp_path / "out" / "train")
    export_lhotse(store, tmp_path / "cuts.jsonl.gz", source)
    cuts = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    for number, cut in enumerate(cuts):
        assert cut.supervisions[0].text == store.texts[2 * number]
        assert cut.load_audio().shape[1] == round(store.durations_seconds[2 * number] * 8_000)


def test_lhotse_recipes(tmp_path: Path, say) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("lhotse", reason="lhotse is not installed")
    from asr.data.lhotse import lhotse_corpus, lhotse_names
    from asr.errors import UsageError

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
