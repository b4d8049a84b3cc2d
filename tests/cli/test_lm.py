"""``asr lm`` from text to a smaller model, as a user runs it."""

import gzip
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.bundle.bundle import Bundle
from asr.bundle.shipped import SHIPPED
from asr.cli.lm import lm_app
from asr.decoder.ngram import NGramModel
from asr.errors import DecodingError, UsageError
from asr.transcription.decoding import DecodingOptions, make_decoder

SENTENCES = ["the cat sat", "the dog sat", "a cat saw the dog", "the dog saw a cat", "the cat sat on the dog"] * 3


def run(*arguments, text=None):
    """Run a command; return its standard output and its error output, or raise what it raised."""
    result = CliRunner().invoke(lm_app, [str(argument) for argument in arguments], input=text)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_from_text_to_a_smaller_binary(tmp_path):
    (tmp_path / "text.gz").write_bytes(gzip.compress("\n".join(SENTENCES).encode()))
    arpa, binary, small = tmp_path / "lm.arpa.gz", tmp_path / "lm.bin", tmp_path / "small.arpa"
    out, err = run("estimate", tmp_path / "text.gz", "--order", 2, "--out", arpa)
    assert out == ""
    assert "asr: warning: the text is too small or too regular" in err
    assert "10 / " in err
    run("convert", arpa, binary)
    assert NGramModel.read(binary).score("the cat") == NGramModel.read(arpa).score("the cat")
    run("prune", binary, "--threshold", 0.01, "--out", small)
    assert NGramModel.read(small).counts[1] < NGramModel.read(binary).counts[1]


def test_perplexity_of_the_standard_input(tmp_path):
    (tmp_path / "text").write_text("\n".join(SENTENCES))
    run("estimate", tmp_path / "text", "--out", tmp_path / "lm.arpa")
    out, _ = run("perplexity", tmp_path / "lm.arpa", "-", text="the cat sat\n\nthe zebra\n")
    expected = NGramModel.read(tmp_path / "lm.arpa").perplexity(["the cat sat", "the zebra"])
    assert f"with OOVs     {expected.with_oov:.4f}" in out
    assert f"without OOVs  {expected.without_oov:.4f}" in out
    assert "sentences 2, tokens 7, OOVs 1" in out


def test_two_models_become_one(tmp_path):
    (tmp_path / "a").write_text("\n".join(SENTENCES))
    (tmp_path / "b").write_text("\n".join(["the parrot sat", "a parrot saw the cat"] * 4))
    (tmp_path / "heldout").write_text("the parrot saw the dog\n")
    for name in ("a", "b"):
        run("estimate", tmp_path / name, "--out", tmp_path / f"{name}.bin")
    models = tmp_path / "a.bin", tmp_path / "b.bin"
    out, _ = run("interpolate", *models, "--heldout", tmp_path / "heldout", "--out", tmp_path / "mixed.bin")
    mixed = NGramModel.read(tmp_path / "mixed.bin")
    assert "parrot" in mixed
    assert "dog" in mixed
    assert f"of the model written {mixed.perplexity(['the parrot saw the dog']).without_oov:.2f}" in out
    run("interpolate", *models, "--weights", "3,1", "--out", tmp_path / "weighted.arpa")
    with pytest.raises(UsageError, match="--heldout TEXT"):
        run("interpolate", *models, "--out", tmp_path / "none.bin")


def test_cutoffs_are_those_of_the_estimator(tmp_path):
    (tmp_path / "text").write_text("\n".join([*SENTENCES, "once upon a time"]))
    run("estimate", tmp_path / "text", "--order", 3, "--cutoffs", "0,1,1", "--out", tmp_path / "lm.arpa")
    assert "once upon" not in (tmp_path / "lm.arpa").read_text()
    assert "the dog" in (tmp_path / "lm.arpa").read_text()


def test_a_model_of_characters_has_a_mark_between_words(tmp_path):
    (tmp_path / "text").write_text("\n".join(SENTENCES))
    run("estimate", tmp_path / "text", "--characters", "--order", 4, "--out", tmp_path / "lm.arpa")
    model = NGramModel.read(tmp_path / "lm.arpa")
    assert {"a", "c", "|"} <= set(model.words)
    assert "cat" not in model
    assert model.score("t h e | c a t | s a t") > model.score("t h e c a t s a t")


def test_a_model_of_another_models_tokens(tmp_path):
    (tmp_path / "text").write_text("\n".join(SENTENCES))
    run("estimate", tmp_path / "text", "--tokens-of", "an4", "--order", 4, "--out", tmp_path / "tokens.arpa")
    model = NGramModel.read(tmp_path / "tokens.arpa")
    tokens = json.loads((SHIPPED / "an4" / "tokens.json").read_text())
    assert model.is_of_tokens(tokens)
    assert not model.is_of_tokens(["<blank>", " ", "t"])
    assert model.score("t h e | c a t") > model.score("t h e c a t")
    decoder = make_decoder(Bundle.load("an4"), DecodingOptions(lm=str(tmp_path / "tokens.arpa")))
    as_words = make_decoder(Bundle.load("an4"), DecodingOptions(lm=str(tmp_path / "tokens.arpa"), lm_level="word"))
    log_probs = np.log(np.random.default_rng(1).dirichlet(np.full(len(tokens), 0.3), 30)).clip(-30)
    best = decoder(log_probs)[0]
    names = ["|" if tokens[token] == " " else tokens[token] for token in best.tokens]
    assert best.lm_score == pytest.approx(model.score(names), abs=1e-4)
    assert as_words(log_probs)[0].lm_score != pytest.approx(best.lm_score)


def test_what_cannot_be_meant_is_refused_before_any_work(tmp_path):
    (tmp_path / "text").write_text("\n".join(SENTENCES))
    with pytest.raises(UsageError, match=r"lm\.txt: expected a name ending in one of \.arpa"):
        run("estimate", tmp_path / "missing", "--out", tmp_path / "lm.txt")
    with pytest.raises(UsageError, match="--cutoffs 'x': expected whole numbers"):
        run("estimate", tmp_path / "text", "--cutoffs", "x", "--out", tmp_path / "lm.arpa")
    with pytest.raises(DecodingError, match="missing: No such file"):
        run("estimate", tmp_path / "missing", "--out", tmp_path / "lm.arpa")
    assert not list(tmp_path.glob("lm*"))
