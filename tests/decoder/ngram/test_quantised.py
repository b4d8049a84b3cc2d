"""The quantised form: the same n-grams with rounded logarithms, and a clear word about a damaged file."""

from contextlib import suppress

import numpy as np
import pytest

from asr.decoder.ngram import NGramModel, copy_as_binary, estimate
from asr.decoder.ngram.quantised import STEP
from asr.errors import DecodingError

from .models import TINY_ARPA, random_sentences


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    model = estimate(random_sentences(250, seed=3))
    path = tmp_path_factory.mktemp("lm") / "lm.npz"
    model.write(path)
    return model, path


def test_it_has_the_same_ngrams_with_logarithms_rounded(written):
    model, path = written
    small = NGramModel.read(path)
    assert (small.words, small.counts) == (model.words, model.counts)
    # Words, links and offsets are as they were; log-probabilities and back-off weights are rounded.
    for index, tolerance in enumerate((0, STEP / 2 + 1e-6, 0, STEP / 2 + 1e-6, 0)):
        assert np.allclose(small.query_arrays[index], model.query_arrays[index], rtol=0, atol=tolerance)
    sentences = random_sentences(50, seed=4)
    assert small.perplexity(sentences).with_oov == pytest.approx(model.perplexity(sentences).with_oov, rel=0.02)
    model.write(path.with_suffix(".bin"))
    assert path.stat().st_size < path.with_suffix(".bin").stat().st_size / 3


def test_written_again_it_is_the_same_file(written, tmp_path):
    NGramModel.read(written[1]).write(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == written[1].read_bytes()


def test_a_copy_is_a_binary(written, tmp_path):
    copy_as_binary(written[0], written[1], tmp_path / "lm.bin")
    assert (tmp_path / "lm.bin").read_bytes() == written[1].read_bytes()
    (tmp_path / "lm.arpa").write_text(TINY_ARPA)
    tiny = NGramModel.read(tmp_path / "lm.arpa")
    copy_as_binary(tiny, tmp_path / "lm.arpa", tmp_path / "lm.bin")
    tiny.write(tmp_path / "own.bin")
    assert (tmp_path / "lm.bin").read_bytes() == (tmp_path / "own.bin").read_bytes()


def test_damage_is_named(written, tmp_path):
    whole = bytearray(written[1].read_bytes())
    for place in range(0, len(whole), 101):
        flipped = tmp_path / "damaged.npz"
        flipped.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        # Some bytes of the archive, such as a date, say nothing of the model.
        with suppress(DecodingError):
            assert NGramModel.read(flipped).words == written[0].words
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodingError, match="damaged"):
        NGramModel.read(tmp_path / "cut.npz")


def test_parts_that_do_not_fit_are_refused(written, tmp_path):
    with np.load(written[1]) as file:
        arrays = dict(file)
    for name in ("words2", "children3", "log_probs1", "backoffs2", "words1"):
        np.savez(tmp_path / "lm.npz", **{**arrays, name: arrays[name][:-1]})
        with pytest.raises(DecodingError, match="damaged"):
            NGramModel.read(tmp_path / "lm.npz")
    np.savez(tmp_path / "lm.npz", **{**arrays, "words2": arrays["words2"].astype(np.int64) + 10**6})
    with pytest.raises(DecodingError, match="do not fit"):
        NGramModel.read(tmp_path / "lm.npz")
    np.savez(tmp_path / "lm.npz", features=np.zeros(3))
    with pytest.raises(DecodingError, match="no quantised n-gram model"):
        NGramModel.read(tmp_path / "lm.npz")
