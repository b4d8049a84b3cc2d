"""A binary whose offsets are damaged is refused: compiled queries would follow them out of the arrays."""

import pytest

from asr.decoder import NGramModel
from asr.decoder.ngram import estimate
from asr.errors import DecodingError


@pytest.mark.filterwarnings("ignore:.*discounts")
def test_an_offset_out_of_order_is_refused(tmp_path):
    model = estimate(["a b a", "b a b", "a a b"], order=2)
    model.write_binary(tmp_path / "lm.bin")
    content = bytearray((tmp_path / "lm.bin").read_bytes())
    begins = model.query_arrays[4]
    place = bytes(content).rindex(begins.tobytes())
    content[place + 4 : place + 8] = (10**6).to_bytes(4, "little")
    (tmp_path / "damaged.bin").write_bytes(content)
    assert NGramModel.read(tmp_path / "lm.bin").order == 2
    with pytest.raises(DecodingError, match="damaged"):
        NGramModel.read(tmp_path / "damaged.bin")
