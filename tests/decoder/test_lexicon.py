"""A closed vocabulary: nothing else is said, spellings and homophones included, against brute force."""

import gzip

import numpy as np
import pytest

from asr.decoder import BeamSearchDecoder, Lexicon
from asr.errors import DecodingError
from tests.decoder.brute_force import (
    ARPA,
    EMPTY_SCORE,
    LABELS,
    NO_PRUNING,
    SUBWORDS,
    assert_same,
    labellings,
    lm_bonus,
    num_empty,
    random_log_probs,
)

LEXICON = "\ufeffmister\tm i s t e r |\nmr\tmister |\nmr  mr\n\nplain\n"
WORDS = {"A": ["a", "ab"], "B": ["b"], "C": ["b", "ba"]}


def readings(heard, spellings):
    """All ways to write what is heard."""
    results = [[]]
    for word in heard:
        written = [name for name, options in spellings.items() if word in options]
        results = [[*result, name] for result in results for name in written]
    return results


def expected_texts(log_probs, labels, spellings, bonus, empty_score=0.0):
    best = {}
    for tokens, log_p in labellings(log_probs).items():
        heard = "".join(labels[token] for token in tokens).replace("▁", " ").split()
        for words in readings(heard, spellings):
            text, score = " ".join(words), log_p + bonus(words) + empty_score * num_empty(tokens, labels)
            best[text] = max(best.get(text, -np.inf), score)
    return {text: score for text, score in best.items() if score > -np.inf}


@pytest.mark.parametrize("labels", [LABELS, SUBWORDS])
def test_only_listed_words_and_all_their_spellings(labels):
    log_probs = random_log_probs(1, num_labels=len(labels))
    decoder = BeamSearchDecoder(labels, options=NO_PRUNING, lexicon=Lexicon(WORDS))
    assert_same(decoder(log_probs), expected_texts(log_probs, labels, WORDS, lambda _words: 0.0))


def test_the_language_model_chooses_among_homophones(tmp_path):
    from asr.decoder import NGramModel

    (tmp_path / "lm.arpa").write_text(ARPA.replace(" ab", " B").replace(" ba", " C").replace(" a", " A"))
    model = NGramModel.read(tmp_path / "lm.arpa")
    log_probs = random_log_probs(2)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lexicon=Lexicon(WORDS), lm=model)
    hypotheses = decoder(log_probs)
    assert_same(hypotheses, expected_texts(log_probs, LABELS, WORDS, lm_bonus(model, NO_PRUNING), EMPTY_SCORE))
    assert [word.text for word in hypotheses[0].words] == hypotheses[0].text.split()


@pytest.mark.parametrize("oov", ["penalise", "forbid"])
def test_words_that_the_model_does_not_know(lm, oov):
    words = {word: [word] for word in ("a", "bb", "ab")}
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lexicon=Lexicon(words), lm=lm).with_options(oov=oov)
    cost = -10.0 if oov == "penalise" else -np.inf
    log_probs = random_log_probs(3)
    assert_same(
        decoder(log_probs), expected_texts(log_probs, LABELS, words, lm_bonus(lm, NO_PRUNING, cost), EMPTY_SCORE)
    )


@pytest.mark.parametrize("labels", [["_", " ", "a", "b"], ["_", "▁a", "▁bb", "b"]])
def test_an_utterance_that_ends_within_a_word_is_cut_before_it(labels):
    decoder = BeamSearchDecoder(labels, lexicon=Lexicon(["a", "abb", "bbab"]))
    said = [2, 0, 1, 3, 0] if labels[1] == " " else [1, 0, 2, 0, 0]
    frames = np.full((len(said), 4), 1e-9)
    frames[np.arange(len(said)), said] = 1
    best = decoder(np.log(frames / frames.sum(axis=1, keepdims=True)))[0]
    assert best.text == "a"
    assert [word.text for word in best.words] == ["a"]


def test_words_added_while_running():
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lexicon=Lexicon(["a"]))
    stream = decoder.stream()
    log_probs = random_log_probs(4)
    decoder.add_words(["b", "ab", "b"])
    texts = {hypothesis.text for hypothesis in decoder(log_probs)}
    assert "ab b" in texts
    assert {word for text in texts for word in text.split()} == {"a", "b", "ab"}
    # What began before goes on as it began.
    stream.push(log_probs)
    assert {word for hypothesis in stream.finish() for word in hypothesis.text.split()} == {"a"}


def test_files(tmp_path):
    (tmp_path / "words.txt").write_text(LEXICON, encoding="utf-8")
    lexicon = Lexicon.read(tmp_path / "words.txt")
    assert [(entry.word, entry.spelling) for entry in lexicon.entries] == [
        ("mister", tuple("mister")), ("mr", ("mister",)), ("mr", ("mr",)), ("plain", "plain"),
    ]  # fmt: skip
    assert list(lexicon) == ["mister", "mr", "plain"]
    assert len(lexicon) == 3
    assert "mr" in lexicon
    (tmp_path / "packed").write_bytes(gzip.compress(LEXICON.encode()))
    assert Lexicon.read(tmp_path / "packed").entries == lexicon.entries
    for end in ("\r", "\r\n"):
        (tmp_path / "other").write_bytes(LEXICON.replace("\n", end).encode())
        assert Lexicon.read(tmp_path / "other").entries == lexicon.entries


def test_bad_words(tmp_path):
    for words in ([], [""], ["two words"], {"a": []}, "word"):
        with pytest.raises(DecodingError, match="lexicon"):
            Lexicon(words)
    with pytest.raises(DecodingError, match="'é'"):
        BeamSearchDecoder(LABELS, lexicon=Lexicon(["bé"]))
    with pytest.raises(DecodingError, match="no label contains"):
        BeamSearchDecoder(LABELS, lexicon=Lexicon(["a"])).add_words(["c"])
    with pytest.raises(DecodingError, match="cannot read"):
        Lexicon.read(tmp_path / "none.txt")
    silent = np.full((2, 4), -np.inf)
    silent[:, 3] = 0
    with pytest.raises(DecodingError, match="no hypothesis is left after frame 0"):
        BeamSearchDecoder(LABELS, lexicon=Lexicon(["a"]))(silent)


def test_added_words_of_a_lexicon_are_known_from_then_on(lm):
    log_probs = random_log_probs(5)
    unknown = next(word for word in ("bab", "aab", "bbb") if word not in lm)
    forbidden = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm, lexicon=Lexicon([unknown, "a"]))
    forbidden = forbidden.with_options(oov="forbid")
    assert not any(unknown in hypothesis.text.split() for hypothesis in forbidden(log_probs))
    forbidden.add_words([unknown])
    assert any(unknown in hypothesis.text.split() for hypothesis in forbidden(log_probs))
    with pytest.raises(DecodingError, match="one string"):
        forbidden.add_words(unknown)
