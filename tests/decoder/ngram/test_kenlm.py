"""KenLM's probing binaries, queried where they lie: against KenLM's own file and numbers, and the ARPA file's model."""

import itertools
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from asr.decoder import BeamOptions, BeamSearchDecoder
from asr.decoder.ngram import NGramModel, estimate, interpolate, prune
from asr.errors import DecodingError

from .models import TINY_ARPA, ngrams_of, random_sentences

# Built from TINY_ARPA by KenLM 4cb443e: build_binary probing tiny.arpa tiny.probing.bin
BY_KENLM = Path(__file__).parent / "tiny.probing.bin"
MASK = 2**64 - 1
# Small texts, which the fixture of the module estimates from, have no discounts.
pytestmark = pytest.mark.filterwarnings("ignore:the text is too small")


def write_probing(model: NGramModel, path: Path, multiplier: float = 1.5) -> None:
    """Write what KenLM's build_binary writes, but for the table of the words' hashes, which nothing reads here."""
    table = ngrams_of(model)
    ids = {word: i for i, word in enumerate(model.words)}
    grams = [[gram for gram in table if len(gram) == n] for n in range(1, model.order + 1)]
    with_left = {gram[1:] for gram in table}
    with_right = {gram[:-1] for gram in table}

    def entry(gram: tuple[str, ...]) -> bytes:
        prob, backoff = table[gram]
        prob = -0.0 if prob == 0 else prob
        shown = -prob if gram in with_left else prob
        if len(gram) == model.order:
            return struct.pack("<f", prob)
        return struct.pack("<ff", shown, backoff if backoff or gram in with_right else -0.0)

    sanity = struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
    head = b"mmap lm http://kheafield.com/code format version 5\n\0".ljust(56, b"\0") + sanity
    head += struct.pack("<B3xfiB3xI", model.order, multiplier, 0, 1, 0)
    head += b"".join(struct.pack("<Q", count) for count in model.counts)
    parts = [head.ljust(-(-len(head) // 8) * 8, b"\0"), bytes(8 + 12 * buckets_of(model.counts[0], multiplier))]
    parts += [entry((word,)) for word in model.words] + [bytes(8)]
    for n in range(2, model.order + 1):
        slots = [b""] * buckets_of(len(grams[n - 1]), multiplier)
        for gram in grams[n - 1]:
            key = ids[gram[-1]]
            for word in reversed(gram[:-1]):
                key = ((key * 8978948897894561157) ^ ((1 + ids[word]) * 17894857484156487943)) & MASK
            place = key % len(slots)
            while slots[place]:
                place = (place + 1) % len(slots)
            slots[place] = struct.pack("<Q", key) + entry(gram)
        parts += [slot or bytes(16 if n < model.order else 12) for slot in slots]
    parts += [word.encode() + b"\0" for word in model.words]
    path.write_bytes(b"".join(parts))


def buckets_of(count: int, multiplier: float) -> int:
    return max(count + 1, int(np.float32(multiplier) * np.float32(count)))


@pytest.fixture(scope="module", params=[2, 3, 5])
def pair(request, tmp_path_factory):
    """Return a model, and the same as a probing binary."""
    model = estimate(random_sentences(250, seed=request.param, num_words=40), request.param, [0, 0, 1][: request.param])
    path = tmp_path_factory.mktemp("kenlm") / "lm.bin"
    write_probing(model, path)
    return model, NGramModel.read(path)


def test_kenlms_own_file_gives_the_arpa_files_probabilities(tmp_path):
    (tmp_path / "tiny.arpa").write_text(TINY_ARPA)
    arpa, probing = NGramModel.read(tmp_path / "tiny.arpa"), NGramModel.read(BY_KENLM)
    assert sorted(probing.words) == sorted(arpa.words)
    for length in range(5):
        for words in itertools.product(["a", "b", "c", "zebra"], repeat=length):
            for bos in (True, False):
                assert probing.log_probs(words, bos) == pytest.approx(arpa.log_probs(words, bos), abs=1e-6)


def six_gram_of_pieces() -> str:
    """Return a 6-gram of SentencePiece pieces, as ARPA text."""
    texts = ["▁a b ▁ba a ing", "▁the a b ▁ba b ▁a", "▁ba a ing ▁the a b ▁a b"]
    levels: list[list[tuple[str, ...]]] = [[("<unk>",), ("<s>",)], *([] for _ in range(5))]
    for pieces in (("<s>", *text.split(), "</s>") for text in texts):
        for order, level in enumerate(levels, 1):
            grams = [pieces[i : i + order] for i in range(len(pieces) - order + 1)]
            level += [gram for gram in dict.fromkeys(grams) if gram not in level]
    lines = ["\\data\\", *(f"ngram {order}={len(level)}" for order, level in enumerate(levels, 1))]
    for order, level in enumerate(levels, 1):
        lines += ["", f"\\{order}-grams:"]
        for i, gram in enumerate(level):
            backoff = f"\t-0.{1 + (5 * i + order) % 9}" if order < 6 and gram[-1] != "</s>" else ""
            lines.append(f"-{1 + (7 * i + 3 * order) % 11 / 8}\t{' '.join(gram)}{backoff}")
    return "\n".join([*lines, "", "\\end\\", ""])


@pytest.mark.parametrize("form", ["arpa", "ours", "probing"])
def test_a_6_gram_of_pieces_scores_as_kenlm_scores_it(form, tmp_path):
    (tmp_path / "six.arpa").write_text(six_gram_of_pieces(), encoding="utf-8")
    model = NGramModel.read(tmp_path / "six.arpa")
    if form == "ours":
        model.write_binary(tmp_path / "six.bin")
    elif form == "probing":
        write_probing(model, tmp_path / "six.bin")
    if form != "arpa":
        model = NGramModel.read(tmp_path / "six.bin")
    # By kenlm 0.3.0 from PyPI: Model("six.arpa").score(text), log10.
    by_kenlm = {
        "▁a b ▁ba a ing": -9.75,
        "▁the a b ▁ba a ing ▁the a b ▁a b": -19.375,
        "▁a b ▁ba b ▁a b ▁a": -17.7,
        "ing ing": -5.45,
        "▁the a zz a b ▁ba": -13.35,
        "▁ba a ing ▁the a b ▁ba b ▁a": -18.8,
        "": -2.7,
    }
    for text, score in by_kenlm.items():
        assert model.score(text) / math.log(10) == pytest.approx(score, abs=2e-6)


def test_every_history_gives_the_same(pair):
    model, probing = pair
    assert (probing.order, probing.counts, probing.words) == (model.order, model.counts, model.words)
    for sentence in [*random_sentences(300, seed=9, num_words=45), ""]:
        for bos in (True, False):
            assert probing.log_probs(sentence, bos) == pytest.approx(model.log_probs(sentence, bos), abs=1e-6)
    assert probing.perplexity(["w1 w2", "w3"]).with_oov == pytest.approx(model.perplexity(["w1 w2", "w3"]).with_oov)


def test_a_state_holds_all_that_matters(pair):
    model, probing = pair
    for sentence in random_sentences(50, seed=4, num_words=40):
        ours, theirs = model.start_state, probing.start_state
        for word in sentence.split():
            ours, theirs = (
                model.advance(ours, model.word_id(word))[1],
                probing.advance(theirs, probing.word_id(word))[1],
            )
        for number in (1, 2, 5, 30):
            expected = model.advance(ours, number)[0]
            assert probing.advance(theirs, number)[0] == pytest.approx(expected, abs=1e-6)


def test_threads_share_a_model(pair):
    model, probing = pair
    sentences = random_sentences(200, seed=11, num_words=45)
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(probing.score, sentences * 4))
    assert scores == pytest.approx([model.score(sentence) for sentence in sentences] * 4, abs=1e-5)


def test_the_search_finds_the_same_with_it(pair):
    model, probing = pair
    labels = ["<blank>", " ", "w", *"0123456789"]
    rng = np.random.default_rng(5)
    log_probs = np.log(rng.dirichlet(np.full(len(labels), 0.4), 40)).clip(-30)
    options = BeamOptions(beam_size=30, nbest=5, alpha=0.7, oov_score=-3.0)
    ours, theirs = (BeamSearchDecoder(labels, options=options, lm=lm)(log_probs) for lm in (model, probing))
    assert [hypothesis.text for hypothesis in theirs] == [hypothesis.text for hypothesis in ours]
    assert [hypothesis.score for hypothesis in theirs] == pytest.approx([hypothesis.score for hypothesis in ours])


def test_what_needs_a_list_of_n_grams_is_refused(pair, tmp_path):
    _, probing = pair
    for work in (
        lambda: probing.write(tmp_path / "out.arpa"),
        lambda: probing.write(tmp_path / "out.bin"),
        lambda: prune(probing, 1e-8),
        lambda: interpolate([probing, probing], [1, 1]),
    ):
        with pytest.raises(DecodingError, match="use the ARPA file that it was built from"):
            work()
    assert not list(tmp_path.iterdir())


def test_it_sums_to_one(pair):
    _, probing = pair
    state = probing.advance(probing.start_state, probing.word_id("w1"))[1]
    words = [i for i, word in enumerate(probing.words) if word != "<s>"]
    assert math.fsum(math.exp(probing.advance(state, word)[0]) for word in words) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:40], "cut short|version"),
        (lambda data: data[:100], "cut short"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:-12], "is it cut short"),
        (lambda data: data.replace(b"version 5", b"version 4"), "'format version 4', expected 'format version 5'"),
        (lambda data: b"mmap lm http://kheafield.com/code incomplete\n" + data[45:], "never finished"),
        (lambda data: data[:56] + swapped(data[56:88]) + data[88:], "other byte order"),
        (lambda data: data[:60] + b"\1" + data[61:], "is damaged"),
        (lambda data: data[:96] + b"\3" + data[97:], "KenLM's quantised trie.*build_binary probing"),
        (lambda data: data[:96] + b"\2" + data[97:], "KenLM's trie"),
        (lambda data: data[:100] + b"\0" + data[101:], "without its words"),
        (lambda data: data[:88] + b"\1" + data[89:], "order of at least 2"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, damage, message):
    path = tmp_path / "damaged.bin"
    path.write_bytes(damage(BY_KENLM.read_bytes()))
    with pytest.raises(DecodingError, match=message):
        NGramModel.read(path)


def swapped(sanity: bytes) -> bytes:
    return struct.pack(">3f3IQ", *struct.unpack("<3f3IQ", sanity))
