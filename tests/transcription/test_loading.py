"""``asr.load`` and what it gives: options as keywords, threads, sources of every kind, audio in which nobody speaks."""

import dataclasses
import io
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr.errors import AsrError, DecodingError, UsageError
from asr.transcription.decoding import DecodingKeywords, DecodingOptions, describe

RATE = 16_000
EXAMPLE = Path(__file__).parents[2] / "data_prep" / "digits" / "example.wav"


@pytest.fixture(scope="module")
def transcriber():
    return asr.load("an4", threads=1)


@pytest.fixture(scope="module")
def example():
    return asr.load_audio(EXAMPLE, RATE).samples


def test_every_kind_of_source_gives_the_same_words(transcriber, example):
    expected = transcriber.transcribe(EXAMPLE)
    assert expected.words
    assert expected.language == "en"
    assert expected.duration == pytest.approx(len(example) / RATE)
    flac = io.BytesIO()
    soundfile.write(flac, example, RATE, format="FLAC", subtype="PCM_16")
    for source in (str(EXAMPLE), EXAMPLE.read_bytes(), io.BytesIO(EXAMPLE.read_bytes()), flac.getvalue()):
        assert transcriber.transcribe(source) == expected
    for array in (example, example.astype(np.float64), np.rint(example * 32768).astype(np.int16), example[:, None]):
        assert transcriber.transcribe(array, source_rate=RATE) == expected
    with pytest.raises(AsrError, match="rate"):
        transcriber.transcribe(example)


def test_segments_words_and_times_agree(transcriber, example):
    pause = np.zeros(2 * RATE, np.float32)
    transcript = transcriber.transcribe(np.concatenate([example, pause, example]), source_rate=RATE)
    assert transcript.text == " ".join(word.text for word in transcript.words)
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    now = 0.0
    for segment in transcript.segments:
        assert now <= segment.start < segment.end <= transcript.duration
        for word in segment.words:
            assert max(now, segment.start) <= word.start_seconds < word.end_seconds
            assert 0 <= word.confidence <= 1
            now = word.end_seconds
        assert now <= segment.end
    second = len(example) / RATE + 2
    assert any(segment.start >= second - 0.5 for segment in transcript.segments)
    assert not any(len(example) / RATE + 0.5 < word.start_seconds < second - 0.5 for word in transcript.words)


def test_threads_share_a_transcriber(example):
    shared = asr.load("an4", threads=1, beam_size=8)
    sources = [example[: len(example) * (i + 2) // 6] for i in range(5)]
    expected = [shared.transcribe(source, source_rate=RATE) for source in sources]
    found = {}

    def work(worker):
        order = [(worker + i) % len(sources) for i in range(2 * len(sources))]
        found[worker] = [(i, shared.transcribe(sources[i], source_rate=RATE)) for i in order]

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert all(transcript == expected[i] for results in found.values() for i, transcript in results)


def silence(seconds=3.0):
    return np.zeros(round(seconds * RATE), np.float32)


NOBODY_SPEAKS = {
    "silence": silence(),
    "10 ms": 0.1 * np.random.default_rng(1).standard_normal(RATE // 100),
    "one sample": np.array([0.5]),
    "white noise": 0.1 * np.random.default_rng(1).standard_normal(5 * RATE),
    "faint noise": 1e-3 * np.random.default_rng(1).standard_normal(5 * RATE),
    "a tone": 0.5 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE),
    "a constant": np.full(5 * RATE, 0.3),
    "a click in silence": np.concatenate([silence(), [0.9], silence()]),
    "full scale": np.sign(np.sin(np.arange(5 * RATE))),
}


@pytest.mark.parametrize("name", NOBODY_SPEAKS)
def test_where_nobody_speaks_there_is_hardly_a_word(transcriber, name):
    transcript = transcriber.transcribe(NOBODY_SPEAKS[name], source_rate=RATE)
    assert len(transcript.text) <= (0 if name in ("silence", "10 ms", "one sample") else 3)
    assert transcript.duration == pytest.approx(len(NOBODY_SPEAKS[name]) / RATE)


def test_one_recording_is_not_several(transcriber, example):
    for one in ("call.wav", b"RIFF", example):
        with pytest.raises(UsageError, match="expected several"):
            list(transcriber.transcribe_many(one))


def test_keywords_are_the_options():
    assert list(DecodingKeywords.__annotations__) == [field.name for field in dataclasses.fields(DecodingOptions)]
    with pytest.raises(UsageError, match=r"unknown option 'beamsize' \(did you mean 'beam_size'\?\)"):
        asr.load("an4", beamsize=3)  # type: ignore[call-arg]


def test_options_switch_beam_search_on(example):
    lexicon = ["one", "two"]
    bundle = asr.Bundle.load("an4")
    assert describe(bundle, DecodingOptions()) == "greedy"
    assert describe(bundle, DecodingOptions(hotwords=[])) == "greedy"
    assert describe(bundle, DecodingOptions(hotwords=["two five"])).startswith("beam ")
    assert describe(bundle, DecodingOptions(lm=None, nbest=2)).endswith("no LM")
    assert describe(bundle, DecodingOptions(beam_size=7)).startswith("beam 7, ")
    reader = asr.load("an4", threads=1, lm=None, hotwords={" ".join(lexicon): 2.0}, nbest=3)
    segment = reader.transcribe(example, source_rate=RATE).segments[0]
    assert 2 <= len(segment.alternatives) <= 3
    assert segment.alternatives[0].text == segment.text
    scores = [alternative.score for alternative in segment.alternatives]
    assert scores == sorted(scores, reverse=True)


def test_a_lexicon_holds_all_that_is_said(example, tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\nthree\n")
    reader = asr.load("an4", threads=1, lm=None, lexicon=str(tmp_path / "words.txt"))
    words = {word.text for word in reader.transcribe(example, source_rate=RATE).words}
    assert words
    assert words <= {"one", "two", "three"}
    (tmp_path / "words.txt").write_text("ONE\n")
    with pytest.raises(DecodingError, match="the lexicon have characters that no label contains: 'ONE'"):
        asr.load("an4", lexicon=str(tmp_path / "words.txt"))


ARPA = "\\data\\\nngram 1=5\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-1 </s>\n-1 {}\n-1 {}\n\n\\end\\\n"


def test_a_language_model_of_another_alphabet_is_refused(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA.format("one", "two"))
    asr.load("an4", lm=str(path))
    path.write_text(ARPA.format("ONE", "TWO"))
    with pytest.raises(DecodingError, match=r"lm\.arpa: does not fit model an4: the labels can write 0 of .*'ONE'"):
        asr.load("an4", lm=str(path))
    path.write_text("no model")
    with pytest.raises(DecodingError, match="lm"):
        asr.load("an4", lm=str(path))


def test_the_bundles_own_priors_are_weighed(tmp_path, example):
    bundle = tmp_path / "an4"
    shutil.copytree(Path(asr.__file__).parent / "models" / "an4", bundle)
    (bundle / "label_priors.npy").unlink()
    with pytest.raises(UsageError, match=r"there are no label priors: bundle an4 has none"):
        asr.load(bundle, prior_weight=0.3)
    size = len(asr.Bundle.load("an4").tokenizer)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(size))
    np.save(bundle / "label_priors.npy", np.log(shares).astype(np.float32))
    given = asr.load("an4", prior_weight=10.0, label_priors=np.log(shares).tolist(), threads=1)
    own = asr.load(bundle, prior_weight=10.0, threads=1)
    without = asr.load("an4", threads=1)
    texts = [model.transcribe(example, source_rate=RATE).text for model in (own, given, without)]
    assert texts[0] == texts[1] != texts[2]
