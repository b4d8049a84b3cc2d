"""Estimation: against a second implementation in plain Python, and against KenLM's models."""

import re
import tarfile
import warnings
from pathlib import Path

import pytest

from asr.decoder.ngram import NGramModel, estimate
from asr.errors import DecodingError

from .models import archive_dir, kneser_ney, ngrams_of, random_sentences, reference_dir, totals_of


@pytest.mark.parametrize(
    ("sentences", "order", "cutoffs"),
    [
        (random_sentences(250, seed=1), 1, [0]),
        (random_sentences(250, seed=2), 2, [0, 0]),
        (random_sentences(250, seed=3), 3, [0, 0, 0]),
        (random_sentences(250, seed=4), 3, [0, 0, 1]),
        (random_sentences(250, seed=5), 4, [0, 1, 1, 2]),
        # All discounts fall back.
        (["a b", "b a", "a b"], 3, [0, 0, 0]),
        (["a"], 3, [0, 0, 0]),
    ],
)
@pytest.mark.filterwarnings("ignore:the text is too small")
def test_it_is_kneser_ney(sentences, order, cutoffs):
    model = estimate(sentences, order, cutoffs)
    ours, expected = ngrams_of(model), kneser_ney(sentences, order, cutoffs)
    assert ours.keys() == expected.keys()
    for gram, numbers in expected.items():
        assert ours[gram] == pytest.approx(numbers, abs=1e-6), gram
    assert totals_of(model) == pytest.approx([1.0] * len(model.query_arrays[3]), abs=1e-5)


@pytest.mark.parametrize(("name", "order", "cutoffs"), [("3gram.arpa", 3, []), ("4gram_pruned.arpa", 4, [0, 0, 1, 1])])
def test_it_is_kenlms_model(reference, name, order, cutoffs):
    model = estimate((reference / "train.txt").read_text().splitlines(), order, cutoffs)
    assert_same(model, NGramModel.read(reference / name))


def test_a_small_text_gives_kenlms_model_and_perplexity(reference):
    transcripts = an4_transcripts()
    model = estimate(transcripts["an4_train"])
    assert_same(model, NGramModel.read(reference / "an4_3gram_fallback.arpa"))
    result = model.perplexity(transcripts["an4_test"])
    assert (result.num_tokens, result.num_oov) == (903, 2)
    assert (result.with_oov, result.without_oov) == (pytest.approx(16.787, abs=1e-3), pytest.approx(16.576, abs=1e-3))


def an4_transcripts():
    archive = archive_dir() / "an4_sphere.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set ASR_ARCHIVES to the folder that holds it")
    transcripts = {}
    # Read as a stream: the transcripts come before the audio.
    with tarfile.open(archive, "r|xz") as tar:
        for member in tar:
            if member.name.endswith(".transcription"):
                lines = tar.extractfile(member).read().decode().splitlines()
                # <s> YES </s> (an251-fash-b)
                transcripts[Path(member.name).stem] = [re.sub(r"</?s>|\(.*\)", "", line) for line in lines]
            if len(transcripts) == 2:
                break
    return transcripts


def assert_same(ours, theirs):
    ours, theirs = ngrams_of(ours), ngrams_of(theirs)
    assert ours.keys() == theirs.keys()
    worst = max(abs(x - y) for gram in ours for x, y in zip(ours[gram], theirs[gram], strict=True))
    assert worst < 1e-5


def test_too_few_counts_fall_back_and_say_so():
    with pytest.warns(UserWarning, match="too small") as caught:
        estimate(["a b", "b a", "a b"], order=2)
    messages = [str(warning.message) for warning in caught]
    assert ["1-grams' discounts: no 1-gram has" in message for message in messages] == [True, False]
    assert ["2-grams' discounts: no 2-gram has" in message for message in messages] == [False, True]
    assert all("took 0.5, 1.0, 1.5" in message for message in messages)


def test_blank_lines_white_space_and_line_ends_do_not_count():
    sentences = random_sentences(250, seed=3)
    untidy = ["", *(f"  {sentence.replace(' ', chr(9))} \r\n" for sentence in sentences), "\n"]
    assert ngrams_of(estimate(untidy)) == ngrams_of(estimate(sentences))


@pytest.mark.parametrize(
    ("sentences", "order", "cutoffs", "message"),
    [
        (["", "  "], 3, [], "no words"),
        ("a b", 3, [], "one string, 'a b'"),
        (["a <s> b"], 3, [], "holds <s>"),
        (["a <unk>"], 3, [], "holds <unk>"),
        (["a"], 0, [], "order of an n-gram model is 0"),
        (["a"], 2, [0, 0, 1], "3 cut-offs for a model of order 2"),
        (["a"], 3, [1], "expected 0 for 1-grams"),
        (["a"], 3, [0, 2, 1], "no cut-off smaller than the one before"),
    ],
)
def test_what_cannot_be_meant_is_refused(sentences, order, cutoffs, message):
    with pytest.raises(DecodingError, match=message):
        estimate(sentences, order, cutoffs)


def test_mixed_letter_case_is_warned_of():
    sentences = [*random_sentences(250, seed=3), "W7 w7"]
    with pytest.warns(UserWarning, match="'w7' and 'W7' are two words"):
        estimate(sentences)


def test_a_sentence_shorter_than_the_order_is_enough():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = estimate(["a"], order=5)
    assert model.counts == (4, 2, 1, 0, 0)
    assert totals_of(model) == pytest.approx([1.0] * len(model.query_arrays[3]), abs=1e-6)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return reference_dir(tmp_path_factory)
