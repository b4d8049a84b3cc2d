"""The binary form: the same model, and a clear word about a damaged file."""

import numpy as np
import pytest

from asr.decoder.ngram import NGramModel, estimate
from asr.errors import DecodingError

from .models import random_sentences


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    model = estimate(random_sentences(250, seed=3))
    path = tmp_path_factory.mktemp("lm") / "lm.bin"
    model.write_binary(path)
    return model, path


def test_it_is_the_same_model(written):
    model, path = written
    mapped = NGramModel.read(path)
    assert (mapped.words, mapped.counts) == (model.words, model.counts)
    assert all(np.array_equal(x, y) for x, y in zip(mapped.query_arrays, model.query_arrays, strict=True))
    assert mapped.score("w1 w2 unheard w3") == model.score("w1 w2 unheard w3")
    # A header, padding between the sections, and nothing else beside the arrays.
    assert path.stat().st_size - model.num_bytes < 2048


def test_writing_to_a_mapped_array_does_not_change_the_file(written):
    _, path = written
    before = path.read_bytes()
    NGramModel.read(path).query_arrays[1][:] = 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-4], "cut short"),
        (lambda data: data[:-4] + b"\xff\xff\xff\x7f", "is damaged"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:19], "broken header"),
        (lambda data: data[:100], "broken header"),
        (lambda data: data.replace(b'"int32"', b'"int64"', 1), "broken header"),
        (lambda data: data.replace(b'"counts": [', b'"counts": [9'), "broken header|do not fit its counts"),
        (lambda data: data.replace(b"n-gram 1", b"n-gram 9"), "another version of this package"),
        (lambda data: data.replace(b"<unk>\n", b"\xffunk>\n"), "words are not UTF-8"),
    ],
)
def test_damage_is_named(written, tmp_path, damage, message):
    path = tmp_path / "damaged.bin"
    path.write_bytes(damage(written[1].read_bytes()))
    with pytest.raises(DecodingError, match=message):
        _ = NGramModel.read(path).words
