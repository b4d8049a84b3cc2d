"""Queries: against numbers by hand, against the definition of back-off, against KenLM."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoder.ngram import NGramModel, estimate, prune, trie
from asr.errors import DecodingError

from .models import TINY_ARPA, backed_off, ngrams_of, random_sentences, reference_dir, totals_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(TINY_ARPA, encoding="utf-8")
    return NGramModel.read(path)


@pytest.mark.parametrize(
    ("sentence", "log10"),
    [
        # <s> a; <s> a b; back off of "a b" to b, then b </s> by the weight of b alone.
        ("a b", -0.25 - 0.11 - (0.15 + 0.4 + 0.8)),
        # c by <s>'s weight; a after c; c a b; c after "a b" by "b c"; </s> by the weights of c ("b c" has none).
        ("c a b c", -(0.2 + 0.9) - 0.55 - 0.12 - (0.15 + 0.45) - (0.5 + 0.8)),
        # An unknown word is <unk>, whose weight counts as a context.
        ("zebra a", -(0.2 + 1.5) - (0.1 + 0.6) - (0.3 + 0.8)),
    ],
)
def test_scores_are_those_by_hand(tiny, sentence, log10):
    assert tiny.score(sentence) == pytest.approx(log10 * math.log(10), abs=1e-6)


def test_a_state_is_the_longest_context_that_matters(tiny):
    def state_after(*words):
        state = tiny.empty_state
        for word in words:
            state = tiny.advance(state, tiny.word_id(word))[1]
        return state

    assert state_after("a", "b", "c") == state_after("c")  # "b c" is listed, but nothing hangs on it
    assert state_after("a", "b") != state_after("b")
    assert state_after("c", "</s>") == tiny.empty_state


@given(st.lists(st.sampled_from(["a", "b", "c", "zebra", "</s>"]), max_size=12))
def test_backing_off_follows_its_definition(tiny, words):
    table = ngrams_of(tiny)
    known = ["<s>", *(word if word != "zebra" else "<unk>" for word in words)]
    expected = [backed_off(table, tuple(known[:i]), known[i]) for i in range(1, len(known))]
    assert tiny.log_probs(words, eos=False) == pytest.approx(expected, abs=1e-5)


def test_perplexity_is_the_mean_over_words_and_ends(tiny):
    text = ["a b", "", "  ", "zebra a"]
    scores = [tiny.score("a b"), tiny.score("zebra a")]
    result = tiny.perplexity(text)
    assert result.with_oov == pytest.approx(math.exp(-sum(scores) / 6))
    unknown = tiny.log_probs(["zebra"], eos=False)[0]
    assert result.without_oov == pytest.approx(math.exp(-(sum(scores) - unknown) / 5))
    assert (result.num_tokens, result.num_oov, result.num_sentences) == (6, 1, 2)


def test_text_without_sentences_and_foreign_ids_are_refused(tiny):
    with pytest.raises(DecodingError, match="no sentence"):
        tiny.perplexity(["", " "])
    with pytest.raises(DecodingError, match="word id 6 is not among the model's 6 words"):
        tiny.advance(0, 6)
    with pytest.raises(DecodingError, match="state 99"):
        tiny.advance(99, 0)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_every_order_has_the_same_array_types(order, tmp_path):
    model = estimate(random_sentences(250, seed=3), order=order)
    for arrays in (model.query_arrays, _through(model, tmp_path / "m.bin"), _through(model, tmp_path / "m.arpa")):
        assert [a.dtype.name for a in arrays] == ["int32", "float32", "int32", "float32", "int32"]
        assert all(a.flags.c_contiguous and a.flags.aligned and a.flags.writeable and a.ndim == 1 for a in arrays)
        assert all(type(a) is np.ndarray for a in arrays)
    assert totals_of(model) == pytest.approx([1.0] * len(model.query_arrays[3]), abs=1e-5)


def _through(model, path):
    (model.write_binary if path.suffix == ".bin" else model.write_arpa)(path)
    return NGramModel.read(path).query_arrays


@pytest.mark.parametrize(
    ("name", "with_oov", "without_oov"),
    [
        ("3gram.arpa", 328.06564522520006, 269.0011327251391),
        ("4gram_pruned.arpa", 332.31091266059485, 273.04070442220213),
    ],
)
def test_perplexity_is_kenlms(reference, name, with_oov, without_oov):
    result = NGramModel.read(reference / name).perplexity((reference / "heldout.txt").read_text().splitlines())
    assert result.with_oov == pytest.approx(with_oov, rel=1e-6)
    assert result.without_oov == pytest.approx(without_oov, rel=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 1e-6])
def test_scores_are_kenlms(reference, tmp_path, threshold):
    kenlm = pytest.importorskip("kenlm", reason="the kenlm package is not installed")
    # After pruning, some n-grams stay whose suffixes are gone.
    ours = prune(NGramModel.read(reference / "3gram.arpa"), threshold)
    ours.write_arpa(tmp_path / "lm.arpa")
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice([*ours.words[3:], "zebra-unheard"], 8)) for _ in range(500)]
    for sentence in [*sentences, *(reference / "heldout.txt").read_text().splitlines()]:
        expected = [log10 * math.log(10) for log10, _, _ in theirs.full_scores(sentence)]
        assert ours.log_probs(sentence.split()) == pytest.approx(expected, abs=1e-5)
    state, after = kenlm.State(), kenlm.State()
    for gram, (log10, _) in ngrams_of(ours).items():
        if gram == ("<s>",):
            continue
        (theirs.BeginSentenceWrite if gram[0] == "<s>" else theirs.NullContextWrite)(state)
        for word in gram[gram[0] == "<s>" :]:
            score = theirs.BaseScore(state, word, after)
            state, after = after, state
        assert score == pytest.approx(log10, abs=1e-5), gram


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return reference_dir(tmp_path_factory)


def test_threads_change_no_link(monkeypatch):
    model = estimate(random_sentences(250, seed=3))
    monkeypatch.setattr(trie, "NGRAMS_PER_THREAD", 7)
    again = trie.build_trie(model.levels())
    assert all(np.array_equal(x, y) for x, y in zip(again, model.query_arrays, strict=True))
