"""Grapheme to phoneme: alignments and pronunciations against all that there are, on cases small enough to list them."""

import itertools
import math
import random
from collections import defaultdict
from contextlib import suppress

import numpy as np
import pytest

from asr.errors import DataError
from asr.lexicon import G2P, PronouncingDictionary
from asr.lexicon.alignment import Spellings, align_spellings
from asr.lexicon.g2p import extend

LETTERS, PHONES = "abc", "XYZ"


def some_entries(seed, count=12):
    print("seed", seed)
    rng = random.Random(seed)
    spoken = {"a": ["X"], "b": ["Y", "Z"], "c": []}
    entries = []
    for _ in range(count):
        word = "".join(rng.choices(LETTERS, k=rng.randint(1, 5)))
        phones = [phone for letter in word for phone in spoken[letter]] or ["X"]
        phones[rng.randrange(len(phones))] = rng.choice(PHONES)
        entries.append((word, phones))
    return [(word, phones[: 2 * len(word)]) for word, phones in entries]


def segmentations(word, phones):
    """All ways to give each letter none, one or two of the phones."""
    for counts in itertools.product(range(3), repeat=len(word)):
        if sum(counts) == len(phones):
            ends = list(itertools.accumulate(counts, initial=0))
            yield [(letter, tuple(phones[ends[i] : ends[i + 1]])) for i, letter in enumerate(word)]


def test_alignment_is_that_of_all_segmentations():
    entries = some_entries(random.randrange(10**6))
    spellings = Spellings.of(entries)
    aligned, log_likelihoods = align_spellings(spellings, iterations=4)
    probs = defaultdict(lambda: 1.0 / (len(spellings.letters) * spellings.num_sounds))
    for found in log_likelihoods:
        expected, log_likelihood = defaultdict(float), 0.0
        for word, phones in entries:
            scored = [(math.prod(probs[unit] for unit in units), units) for units in segmentations(word, phones)]
            total = sum(score for score, _ in scored)
            log_likelihood += math.log(total)
            for score, units in scored:
                for unit in units:
                    expected[unit] += score / total
        assert found == pytest.approx(log_likelihood)
        everything = sum(expected.values())
        probs = defaultdict(float, {unit: count / everything for unit, count in expected.items()})
    assert (np.diff(log_likelihoods) >= -1e-9).all()
    for (word, phones), codes in zip(entries, aligned, strict=True):
        units = [spellings.unit(code) for code in codes.tolist()]
        assert units in list(segmentations(word, phones))
        best = max(math.prod(probs[unit] for unit in other) for other in segmentations(word, phones))
        assert math.prod(probs[unit] for unit in units) == pytest.approx(best)


def test_words_with_more_phones_than_their_letters_can_have():
    spellings = Spellings.of([("ab", list("XYZXY")), ("ab", list("XY"))])
    aligned, _ = align_spellings(spellings)
    assert [len(units) for units in aligned] == [0, 2]
    with pytest.raises(DataError, match="no word of the lexicon can be aligned"):
        G2P.train(PronouncingDictionary([("a", list("XYZ"))]))


def test_scripts_that_are_no_alphabet():
    words = [(chr(0x4E00 + index), ["X", f"Y{index}"]) for index in range(600)]
    with pytest.raises(DataError, match="expected an alphabet"):
        G2P.train(PronouncingDictionary(words))


@pytest.mark.parametrize("word", ["a", "bca", "cabb"])
def test_pronunciations_are_the_sums_over_all_segmentations(word):
    model = G2P.train(PronouncingDictionary(some_entries(random.randrange(10**6), 30)), order=3)
    by_letter = {letter: [index for index, unit in enumerate(model.units) if unit[0] == letter] for letter in word}
    sums = defaultdict(float)
    for units in itertools.product(*(by_letter[letter] for letter in word)):
        state, log_prob = model.lm.start_state, 0.0
        for word_id in [*(unit + 3 for unit in units), model.lm.end_id]:
            step, state = model.lm.advance(state, word_id)
            log_prob += step
        sums[tuple(phone for unit in units for phone in model.units[unit][1])] += math.exp(log_prob)
    sums.pop((), None)
    found = model.pronounce(word, 10**6, beam_size=10**6, beam_width=math.inf)
    total = sum(sums.values())
    assert {said.phones: math.exp(said.log_weight) for said in found} == pytest.approx(
        {phones: prob / total for phones, prob in sums.items()}
    )
    assert [said.log_weight for said in found] == sorted((said.log_weight for said in found), reverse=True)
    assert sum(math.exp(said.log_weight) for said in model.pronounce(word, 4)) <= 1 + 1e-9
    assert model.pronounce(word, 2, beam_size=10**6, beam_width=math.inf) == found[:2]


@pytest.fixture(scope="module")
def model() -> G2P:
    words = ["".join(letters) for letters in itertools.product("katé", repeat=4)]
    phones = {"k": ["K"], "a": ["AH"], "t": ["T"], "é": ["EY"]}
    return G2P.train(PronouncingDictionary((word, [p for letter in word for p in phones[letter]]) for word in words))


def test_what_is_written_is_read_again(tmp_path, model):
    model.write(tmp_path / "g2p.npz")
    again = G2P.read(tmp_path / "g2p.npz")
    assert again.units == model.units
    assert again.lm.counts == model.lm.counts
    for word in ("kat", "atékaté"):
        before, after = model.pronounce(word)[0], again.pronounce(word)[0]
        assert before.phones == after.phones
        assert before.log_weight == pytest.approx(after.log_weight, abs=0.1 * len(word))
    again.write(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "g2p.npz").read_bytes()


def test_letters_in_another_form(model):
    assert model.pronounce("KàTÉ")[0].phones == ("K", "AH", "T", "EY")
    assert model.pronounce("kate\u0301")[0].phones == ("K", "AH", "T", "EY")
    with pytest.raises(DataError, match=r"'kaß' is pronounced: 'ß' \(U\+00DF\) is not a letter"):
        model.pronounce("kaß")
    with pytest.raises(DataError, match="empty"):
        model.pronounce("")


def test_extending_leaves_what_is_listed(model):
    lexicon = PronouncingDictionary([("kat", ["K", "AE", "T"])])
    larger, added, left_out = extend(lexicon, ["taka", "kat", "k2", "taka", "KAT"], model, nbest=2)
    assert (added, left_out) == (["taka", "KAT"], ["k2"])
    assert larger["kat"] == lexicon["kat"]
    assert larger.preferred("taka") == ("T", "AH", "K", "AH")
    assert larger["taka"][0].log_weight == 0.0


def test_words_of_silent_letters_are_left_out():
    lexicon = PronouncingDictionary([("ha", ["A"]), ("ah", ["A"]), ("a", ["A"]), ("bah", ["B", "A"])])
    model = G2P.train(lexicon, order=2)
    assert model.pronounce("h") == []
    _, added, left_out = extend(lexicon, ["h", "ab"], model)
    assert (added, left_out) == (["ab"], ["h"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"no such thing"])
def test_files_that_are_no_models(tmp_path, content):
    (tmp_path / "g2p.npz").write_bytes(content)
    with pytest.raises(DataError, match="is damaged, or not a pronunciation model"):
        G2P.read(tmp_path / "g2p.npz")
    with pytest.raises(DataError, match="asr lexicon train makes one"):
        G2P.read(tmp_path / "none.npz")


def test_a_file_that_is_damaged_within(tmp_path, model):
    model.write(tmp_path / "g2p.npz")
    whole = bytearray((tmp_path / "g2p.npz").read_bytes())
    for place in range(0, len(whole), 7):
        (tmp_path / "other.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        # Some bytes mean nothing.
        with suppress(DataError):
            G2P.read(tmp_path / "other.npz")
    with np.load(tmp_path / "g2p.npz") as file:
        arrays = dict(file)
    for name, value in (("words2", arrays["words2"] + 100), ("children1", arrays["children1"] + 1), ("format", "x")):
        np.savez(tmp_path / "other.npz", **{**arrays, name: value})
        with pytest.raises(DataError, match=r"damaged|this version reads"):
            G2P.read(tmp_path / "other.npz")
