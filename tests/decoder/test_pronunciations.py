"""Lexicons of phones against brute force: pronunciations, their weights, homophones, priors, hotwords, no delimiter."""

import itertools
import math

import numpy as np
import pytest

from asr.decoder import BeamSearchDecoder, GreedyDecoder, Lexicon, NGramModel, log_softmax
from asr.errors import DecodingError
from tests.decoder.brute_force import (
    ARPA,
    EMPTY_SCORE,
    NO_PRUNING,
    assert_same,
    hotword_bonus,
    labellings,
    lm_bonus,
    random_log_probs,
)

PHONES = ["<blank>", "K", "AH", "T"]
WITH_DELIMITER = [*PHONES, "|"]
# "a" and "ab" sound alike; "ba" has two pronunciations; one of "c" begins as the other ends.
ENTRIES = [
    ("a", ("AH",), -0.3), ("ab", ("AH",), 0.0), ("ba", ("K", "AH"), -0.1), ("ba", ("K", "AH", "T"), -1.2),
    ("c", ("T",), 0.0), ("c", ("T", "K"), -0.7),
]  # fmt: skip
PRIORS = np.log([0.5, 0.1, 0.15, 0.2, 0.05])


def segmentations(tokens):
    """All ways to read labels as entries, one after the other."""
    if not tokens:
        return [[]]
    return [
        [entry, *rest]
        for entry in ENTRIES
        if tokens[: len(entry[1])] == entry[1]
        for rest in segmentations(tokens[len(entry[1]) :])
    ]


def readings(names):
    """All ways to read labels as entries, with how many delimiters end no word."""
    if "|" not in names:
        yield from ((reading, 0) for reading in segmentations(names))
        return
    words = [tuple(group) for is_end, group in itertools.groupby(names, "|".__eq__) if not is_end]
    for parts in itertools.product(*(segmentations(word) for word in words)):
        if all(len(part) == 1 for part in parts):
            starts = sum(b == "|" and a in (None, "|") for a, b in itertools.pairwise([None, *names]))
            yield [part[0] for part in parts], starts


def expected(log_probs, labels, bonus):
    best = {}
    for tokens, log_p in labellings(log_probs).items():
        names = tuple(labels[token] for token in tokens)
        if "|" in labels and "|" not in names and len(names) > 0 and not any(names == entry[1] for entry in ENTRIES):
            continue
        for entries, num_empty in readings(names):
            if "|" in labels and "|" not in names and len(entries) > 1:
                continue
            words = [word for word, _, _ in entries]
            score = log_p + sum(weight for _, _, weight in entries) + bonus(words, num_empty)
            best[" ".join(words)] = max(best.get(" ".join(words), -np.inf), score)
    return best


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text(ARPA.replace("ngram 1=6", "ngram 1=7").replace("-1.1 ba -0.1", "-1.1 ba -0.1\n-0.8 c -0.25"))
    return NGramModel.read(path)


@pytest.mark.parametrize("labels", [PHONES, WITH_DELIMITER])
@pytest.mark.parametrize("seed", range(3))
def test_all_that_counts_at_once(labels, seed, model):
    log_probs = random_log_probs(seed, num_frames=5, num_labels=len(labels))
    priors = PRIORS[: len(labels)] - np.log(np.exp(PRIORS[: len(labels)]).sum())
    hotwords = {"ab c": 2.0, "c": -0.6, "ba a ab": 3.5}
    decoder = BeamSearchDecoder(
        labels, options=NO_PRUNING, lm=model, lexicon=Lexicon.from_entries(ENTRIES), label_priors=priors,
        hotwords=hotwords,
    ).with_options(prior_weight=0.4, blank_scale=0.7)  # fmt: skip
    scaled = log_probs - 0.4 * priors
    scaled[:, 0] += math.log(0.7)
    language, hot = lm_bonus(model, NO_PRUNING), hotword_bonus(hotwords)
    hypotheses = decoder(log_probs)
    assert_same(
        hypotheses,
        expected(scaled, labels, lambda words, num_empty: language(words) + hot(words) + EMPTY_SCORE * num_empty),
    )
    for hypothesis in hypotheses:
        assert [word.text for word in hypothesis.words] == hypothesis.text.split()
        assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
        assert hypothesis.hotword_score == pytest.approx(hot(hypothesis.text.split()))


@pytest.mark.parametrize("seed", range(8))
def test_of_hypotheses_with_one_future_the_best_goes_on(seed, model):
    log_probs = random_log_probs(seed, num_frames=6, num_labels=len(WITH_DELIMITER))
    decoder = BeamSearchDecoder(WITH_DELIMITER, options=NO_PRUNING, lm=model, lexicon=Lexicon.from_entries(ENTRIES))
    language = lm_bonus(model, NO_PRUNING)
    exact = expected(log_probs, WITH_DELIMITER, lambda words, count: language(words) + EMPTY_SCORE * count)
    kept = decoder.with_options(recombine=True)(log_probs)
    assert len(kept) < len(decoder(log_probs))
    for hypothesis in kept:
        # Alignments through what was dropped are lost, and nothing is gained.
        assert hypothesis.score < exact[hypothesis.text] + 1e-6
    assert exact[kept[0].text] > max(exact.values()) - math.log(2)


def test_recombination_makes_a_narrow_beam_find_more(model):
    log_probs = log_softmax(1.5 * np.random.default_rng(7).normal(size=(400, len(WITH_DELIMITER))))
    decoder = BeamSearchDecoder(
        WITH_DELIMITER, lm=model, lexicon=Lexicon.from_entries(ENTRIES), options={"beam_size": 8}
    )
    assert decoder.with_options(recombine=True)(log_probs)[0].score > decoder(log_probs)[0].score


@pytest.mark.parametrize("options", [{"oov_score": -0.5}, {"oov_score": -9.0}, {"oov": "forbid"}, {"oov": "allow"}])
def test_of_an_unfinished_word_just_the_best_that_may_come_is_expected(options, model):
    def expected_at_nodes(setup):
        scorer, entries = setup.scorer, setup.spoken.entries
        cost = {"forbid": -np.inf, "allow": 0.0}.get(options.get("oov"), options.get("oov_score"))
        best = np.full(len(scorer.trie_nodes), -np.inf)
        for row in entries:
            value = (
                1.3 * model.advance(model.empty_state, int(row["word_id"]))[0] + 0.2 + (cost if row["is_oov"] else 0.0)
            )
            node = int(row["node"])
            while node >= 0:
                best[node] = max(best[node], value)
                node = int(scorer.trie_nodes["parent"][node]) if node else -1
        return best

    def told(setup):
        scorer = setup.scorer
        known = 1.3 * scorer.trie_nodes["best"] + 0.2
        return np.where(scorer.trie_nodes["has_oov"], np.maximum(known, scorer.oov_ahead), known)

    lexicon = Lexicon.from_entries([*ENTRIES, ("new", ("K", "T", "T"), 0.0), ("newer", ("K", "AH"), 0.0)])
    decoder = BeamSearchDecoder(
        WITH_DELIMITER, lm=model, lexicon=lexicon, options={"alpha": 1.3, "beta": 0.2, **options}, hotwords={"a": -1.0}
    )
    assert decoder._setup.spoken.entries["is_oov"].sum() == 2
    for setup in (decoder._setup, decoder._setup_for({"newer": 1.0}, "")):
        wanted = expected_at_nodes(setup)
        # Where no word may come, less than any threshold.
        assert np.allclose(np.maximum(told(setup), -1e9), np.maximum(wanted, -1e9), atol=1e-5)
    assert setup.spoken.entries["is_oov"].sum() == 1


@pytest.mark.parametrize("recombine", [False, True])
@pytest.mark.parametrize("labels", [PHONES, WITH_DELIMITER])
def test_streams_and_a_narrow_beam(labels, recombine, model):
    log_probs = log_softmax(2.5 * np.random.default_rng(4).normal(size=(300, len(labels))))
    decoder = BeamSearchDecoder(
        labels,
        lm=model,
        lexicon=Lexicon.from_entries(ENTRIES),
        options={"beam_size": 40, "nbest": 5, "recombine": recombine},
    )
    whole = decoder(log_probs)
    stream = decoder.stream()
    taken = []
    for chunk in np.array_split(log_probs, 17):
        stream.push(chunk)
        taken += stream.take_stable()
    last = stream.finish()[0]
    assert taken
    assert (*taken, *last.words) == whole[0].words
    assert [hypothesis.score for hypothesis in whole] == sorted((h.score for h in whole), reverse=True)


def frames_of(names, labels):
    probs = np.full((2 * len(names) + 1, len(labels)), 0.01)
    probs[0::2, 0] = 1
    probs[np.arange(1, len(probs), 2), [labels.index(name) for name in names]] = 1
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def test_words_that_the_lexicon_does_not_list_can_be_spelled():
    lexicon = Lexicon.from_entries(ENTRIES)
    decoder = BeamSearchDecoder(WITH_DELIMITER, lexicon=lexicon)
    log_probs = frames_of(["K", "AH", "|", "K", "K", "|", "T"], WITH_DELIMITER)
    assert "<" not in decoder.decode(log_probs)
    assert decoder.with_options(unlisted="spell").decode(log_probs) == "ba <K-K> c"
    letters = BeamSearchDecoder(["_", " ", "a", "b"], lexicon=["a"], options={"unlisted": "spell"})
    assert letters.decode(frames_of("a bab", ["_", " ", "a", "b"])) == "a <bab>"


def test_an_unfinished_word_is_shown_by_its_letters_and_not_by_its_phones():
    def shown(decoder, names, labels):
        stream, texts = decoder.stream(), []
        for frame in frames_of(names, labels):
            stream.push(frame[None])
            texts.append(" ".join(filter(None, [stream.stable_text, stream.partial_text])))
        return texts[1::2]

    lexicon = Lexicon.from_entries([("cat", ("K", "AH", "T"), 0.0), ("a", ("AH",), 0.0)])
    for labels, between in ((PHONES, []), (WITH_DELIMITER, ["|"])):
        names = ["AH", *between, "K", "AH", "T", *between, "K"]
        texts = shown(BeamSearchDecoder(labels, lexicon=lexicon), names, labels)
        assert texts == ["a", *["a"] * len(between), "a", "a", "a cat", *["a cat"] * len(between), "a cat"]
    letters = ["_", " ", "a", "b"]
    assert shown(BeamSearchDecoder(letters, lexicon=["a", "bab"]), "a ba", letters) == ["a", "a", "a b", "a ba"]


def test_words_are_added_with_their_pronunciations(model):
    decoder = BeamSearchDecoder(PHONES, lexicon=Lexicon.from_entries(ENTRIES), lm=model)
    with pytest.raises(DecodingError, match=r"not labels: 'dada' .*spellings"):
        decoder.add_words(["dada"])
    with pytest.raises(DecodingError, match="hotwords"):
        decoder(frames_of(["T"], PHONES), hotwords=["dada"])
    decoder.add_words({"dada": [("K", "K", "T")]})
    assert decoder.decode(frames_of(["K", "K", "T"], PHONES)) == "dada"
    assert decoder(frames_of(["K", "K", "T"], PHONES), hotwords={"dada": 2.0})[0].hotword_score == 2


def test_priors_of_greedy_decoding():
    labels = ["_", "a", "b"]
    log_probs = np.log([[0.5, 0.45, 0.05], [0.8, 0.1, 0.1], [0.3, 0.1, 0.6]])
    assert GreedyDecoder(labels).decode(log_probs) == "b"
    priors = np.log([0.8, 0.1, 0.1])
    assert GreedyDecoder(labels, label_priors=priors).decode(log_probs) == "ab"
    assert GreedyDecoder(labels, blank_scale=0.8).decode(log_probs) == "ab"
    word = GreedyDecoder(labels, label_priors=priors)(log_probs)[0].words[0]
    assert word.confidence == pytest.approx(0.45)
    for wrong, message in (
        (np.log([0.9, 0.1]), r"shape \(2,\); expected \(3,\)"),
        ([0.8, 0.1, 0.1], "natural logarithms"),
        ([0.0, -np.inf, -np.inf], "finite"),
    ):
        for make in (GreedyDecoder, BeamSearchDecoder):
            with pytest.raises(DecodingError, match=message):
                make(labels, label_priors=wrong)


@pytest.mark.parametrize("seed", range(3))
def test_spelled_words_without_delimiters(seed):
    log_probs = random_log_probs(seed, num_frames=4, num_labels=len(PHONES))
    options = {"unlisted": "spell", "oov_score": -1.3}
    decoder = BeamSearchDecoder(PHONES, options=NO_PRUNING, lexicon=Lexicon.from_entries(ENTRIES))
    listed = {spelling for _, spelling, _ in ENTRIES}

    def divisions(names):
        """All ways to read labels as words, each one listed or spelled, with what they cost."""
        if not names:
            yield (), 0.0
        for end in range(1, len(names) + 1):
            first = names[:end]
            words = [(word, weight) for word, spelling, weight in ENTRIES if spelling == first]
            if first not in listed:
                words = [(f"<{'-'.join(first)}>", -1.3)]
            for (word, weight), (rest, cost) in itertools.product(words, divisions(names[end:])):
                yield (word, *rest), weight + cost

    best = {}
    for tokens, log_p in labellings(log_probs).items():
        for words, cost in divisions(tuple(PHONES[token] for token in tokens)):
            text = " ".join(words)
            best[text] = max(best.get(text, -np.inf), log_p + cost)
    assert any("<" in text and "<" not in text.split()[-1] for text in best)
    assert_same(decoder.with_options(**options)(log_probs), best)
