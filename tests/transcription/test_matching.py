"""Models that write case and punctuation, with language models that have other ones, or none."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from asr.bundle.bundle import Bundle
from asr.decoder import BeamSearchDecoder, Labels, NGramModel
from asr.errors import ModelError, UsageError
from asr.text import PROFILES
from asr.transcription.decoding import DecodingOptions, make_decoder
from asr.transcription.matching import spelling

CHARACTERS = "ABab',.-é"
SMALL = ["ab", "ba", "a", "b", "a'b", "é"] * 20
ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-1\t</s>
-0.7\ta\t-0.2
-0.9\tb\t-0.4
-1.2\tab
-1.1\tba\t-0.1

\\2-grams:
-0.3\t<s> ba
-0.5\ta b
-0.2\tba a
-0.4\tb </s>

\\end\\
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"A": "a", "B": "b", "É": "é", ",": "", ".": "", "-": ""}),
        (SMALL, {"A": "a", "B": "b", "É": "é", ",": "", ".": "", "-": ""}),
        ([word.upper() for word in SMALL], {"a": "A", "b": "B", "é": "É", ",": "", ".": "", "-": ""}),
        ([*SMALL, "Ab", "BA", "A", "Ba-ba"], {",": "", ".": ""}),
        ([*SMALL, "Ab", "Ba.", "b,", "b-a", "A"], {}),
    ],
    ids=["no model", "small letters", "capitals", "case", "case and punctuation"],
)
def test_what_the_language_model_has_is_kept(words, expected):
    assert spelling(CHARACTERS, words, PROFILES["words"]) == expected


def test_languages_have_rules_of_their_own():
    assert spelling("Iİ", ["ılık", "iyi"], PROFILES["turkish"])["I"] == "ı"
    assert spelling("Iİ", ["ılık", "iyi"], PROFILES["words"])["I"] == "i"


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_best_of_all_texts(tmp_path, seed):
    (tmp_path / "lm.arpa").write_text(ARPA)
    lm = NGramModel.read(tmp_path / "lm.arpa")
    labels = Labels(["", "|", "A", "a", "b", ","], 0, {"A": "a", ",": ""})
    options = {"alpha": 0.8, "beta": 0.7, "oov_score": -2.0, "empty_score": 0.0, "beam_size": 4000, "nbest": 5,
               "token_threshold": -100.0, "beam_threshold": 1000.0}  # fmt: skip
    frames = np.log(np.random.default_rng(seed).dirichlet(np.full(6, 0.7), size=5))
    masses = defaultdict(float)
    for path in itertools.product(range(6), repeat=5):
        collapsed = tuple(token for token, _ in itertools.groupby(path) if token)
        masses[collapsed] += np.exp(frames[range(5), path].sum())
    best = {}
    for tokens, mass in masses.items():
        written = labels.text(tokens)
        words = labels.looked_up(written).split()
        unknown = sum(word not in lm for word in words)
        score = np.log(mass) + 0.8 * lm.score(words) + 0.7 * len(words) - 2.0 * unknown
        best[written] = max(best.get(written, -np.inf), score)
    expected = sorted(best.items(), key=lambda item: -item[1])[:5]
    found = BeamSearchDecoder(labels, lm=lm, options=options)(frames)
    assert [hypothesis.text for hypothesis in found] == [text for text, _ in expected]
    np.testing.assert_allclose([hypothesis.score for hypothesis in found], [score for _, score in expected])


def test_a_converted_model_keeps_its_case_with_a_language_model_that_has_none(tmp_path):
    pytest.importorskip("onnx", reason="the graph is made with onnx")
    from asr.convert.convert import convert
    from tests.convert.test_onnx_folder import onnx_asr_folder, write_vocabulary

    source = onnx_asr_folder(tmp_path / "source")
    tokens = ["<unk>", "▁A", "▁a", "b", "B", ",", ".", "▁", "'", "<blk>"]
    write_vocabulary(source / "vocab.txt", tokens)
    bundle = convert(source, tmp_path / "bundle")
    assert bundle.text_profile == "words"
    (tmp_path / "lm.arpa").write_text(ARPA)
    # "Ab, A." with a doubt about the first letter.
    said = [("▁A", 0.5), ("b", 0.9), (",", 0.9), ("▁A", 0.9), (".", 0.9)]
    names = bundle.tokenizer.tokens
    frames = np.full((len(said), len(names)), 0.01)
    for row, (token, share) in zip(frames, said, strict=True):
        row[names.index(token)] = share
    frames[0, names.index("▁a")] = 0.4
    frames = np.log(frames / frames.sum(axis=1, keepdims=True))
    for options in (
        DecodingOptions(beam_size=50, lm=tmp_path / "lm.arpa"),
        DecodingOptions(beam_size=50, lm=tmp_path / "lm.arpa", hotwords=["ab a"]),
        DecodingOptions(beam_size=50, hotwords=["AB A"]),
    ):
        (found,) = make_decoder(bundle, options)(frames)
        assert found.text == "Ab, A."
        assert [word.text for word in found.words] == ["Ab,", "A."]
        assert (found.hotword_score > 0) == bool(options.hotwords)
        if options.lm != "own":
            assert found.lm_score == pytest.approx(NGramModel.read(tmp_path / "lm.arpa").score("ab a"), abs=1e-5)
    with pytest.raises(UsageError, match="has characters that model source cannot write: 'xÉ'"):
        make_decoder(bundle, DecodingOptions(hotwords=["Éxab"]))
    config = (bundle.directory / "config.json").read_text(encoding="utf-8")
    (bundle.directory / "config.json").write_text(config.replace('"words"', '"verbal"'), encoding="utf-8")
    with pytest.raises(ModelError, match="has the text_profile 'verbal'; expected one of verbatim, english"):
        Bundle.load(bundle.directory)
