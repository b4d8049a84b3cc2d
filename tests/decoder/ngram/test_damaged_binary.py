"""A binary whose offsets or links are damaged is refused: compiled queries would follow them out of the arrays."""

import pytest

from asr.decoder import NGramModel
from asr.decoder.ngram import estimate
from asr.errors import DecodingError


@pytest.mark.filterwarnings("ignore:.*discounts")
# Of the links: one out of the arrays on either side, and one to its own node, in which a query would go round for ever.
@pytest.mark.parametrize(("array", "at", "value"), [(4, 1, 10**6), (2, 3, 10**6), (2, -1, -5), (2, 3, 3)])
def test_an_offset_or_a_link_that_leads_astray_is_refused(tmp_path, array, at, value):
    model = estimate(["a b a", "b a b", "a a b"], order=2)
    model.write_binary(tmp_path / "lm.bin")
    content = (tmp_path / "lm.bin").read_bytes()
    damaged = model.query_arrays[array].copy()
    damaged[at] = value
    (tmp_path / "damaged.bin").write_bytes(content.replace(model.query_arrays[array].tobytes(), damaged.tobytes()))
    assert NGramModel.read(tmp_path / "lm.bin").order == 2
    with pytest.raises(DecodingError, match="damaged"):
        NGramModel.read(tmp_path / "damaged.bin")
