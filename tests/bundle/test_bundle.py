"""What a bundle says: frames are of whole samples, and what makes no sense in it is named."""

import json
import shutil
from dataclasses import replace

import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.shipped import SHIPPED
from asr.errors import ModelError
from asr.features import LogMelConfig


@pytest.mark.parametrize(("sample_rate", "hop_samples"), [(16_000, 160), (11_025, 110), (22_050, 220)])
def test_a_frame_lasts_as_long_as_its_samples(sample_rate, hop_samples):
    bundle = replace(Bundle.load("an4"), features=LogMelConfig(sample_rate=sample_rate))
    assert bundle.features.hop_samples == hop_samples
    assert bundle.frame_seconds * sample_rate == pytest.approx(hop_samples * bundle.model.time_reduction, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoding": {"alpha": "0.5"}}, r"the decoding \{'alpha': '0.5'\}; expected numbers"),
        ({"decoding": {"gamma": 0.5}}, "expected numbers named alpha, beta, beam_size"),
        ({"decoding": [0.5]}, "expected numbers"),
        ({"results": [{"split": "test"}]}, "expected split, decoder, wer"),
        ({"results": {"wer": 5}}, "the result 'wer'"),
    ],
)
def test_sections_that_are_not_as_expected_are_named(tmp_path, changes, message):
    model = tmp_path / "model"
    shutil.copytree(SHIPPED / "an4", model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        Bundle.load(model)
