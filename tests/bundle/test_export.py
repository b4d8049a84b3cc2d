"""A bundle holds the model that was trained: ONNX Runtime and torch give the same log-probabilities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.export import write_bundle  # noqa: E402
from asr.bundle.runtime import OnnxRuntime, TorchRuntime  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402

FEATURES = LogMelConfig(n_mels=12, sample_rate=8000)
TOKENIZER = CharTokenizer.from_texts(["one two"])
MEAN, STD = torch.linspace(-6, -4, 12), torch.linspace(1, 3, 12)


def make_bundle(directory, config):
    torch.manual_seed(1)
    model = AcousticModel(config, FEATURES.n_mels, len(TOKENIZER)).eval()
    model.set_statistics(MEAN, STD)
    bundle = Bundle(directory, "tiny", "for tests", FEATURES, mel_filterbank(FEATURES), config, TOKENIZER)
    return write_bundle(bundle, model, "# tiny\n", directory)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("time_reduction", [2, 4, 8])
def test_onnx_equals_torch_alone_and_in_a_batch(tmp_path, cell, bidirectional, time_reduction):
    config = ModelConfig(cell, bidirectional, 2, hidden_size=8, conv_channels=3, time_reduction=time_reduction)
    make_bundle(tmp_path / "bundle", config)
    bundle = Bundle.load(tmp_path / "bundle")
    onnx, reference = OnnxRuntime(bundle, threads=1), TorchRuntime(bundle, "cpu")
    rng = np.random.default_rng(1)
    features = [rng.standard_normal((length, 12), dtype=np.float32) for length in (37, 1, 2, 5, 41, 18, 3)]
    together = onnx(features)
    for x, in_batch, expected in zip(features, together, reference(features), strict=True):
        assert in_batch.shape == (config.output_frames(len(x)), len(TOKENIZER))
        np.testing.assert_allclose(in_batch, expected, atol=1e-4)
        np.testing.assert_allclose(onnx([x])[0], expected, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["global", "utterance", "none"])
def test_the_network_normalises_as_written_down_here(tmp_path, normalisation):
    config = ModelConfig("lstm", True, 2, hidden_size=8, conv_channels=3, normalisation=normalisation)
    bundle = make_bundle(tmp_path / "bundle", config)
    plain = replace(bundle, model=replace(config, normalisation="none"))
    torch.manual_seed(1)
    model = AcousticModel(plain.model, 12, len(TOKENIZER)).eval()
    plain = write_bundle(plain, model, "# plain\n", tmp_path / "plain")
    rng = np.random.default_rng(3)
    features = [4 * rng.standard_normal((length, 12), dtype=np.float32) - 7 for length in (37, 1, 2, 41, 19)]
    # A band that does not change, and one that hardly does.
    features[0][:, 3] = -23
    features[3][:, 5] = -7 + 1e-3 * features[3][:, 5]

    def normalised(x):
        if normalisation == "global":
            return (x - MEAN.numpy()) / STD.numpy()
        return (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-2) if normalisation == "utterance" else x

    expected = TorchRuntime(plain, "cpu")([normalised(x) for x in features])
    runtimes = [TorchRuntime(bundle, "cpu"), OnnxRuntime(bundle, 1), OnnxRuntime(bundle, 1, "int8")]
    for runtime, tolerance in zip(runtimes, (1e-4, 1e-4, 0.05), strict=True):
        for got in (runtime(features), [runtime([x])[0] for x in features]):
            for x, y in zip(got, expected, strict=True):
                np.testing.assert_allclose(x, y, atol=tolerance)


def test_a_bundle_replaces_an_older_one_and_leaves_nothing_else(tmp_path):
    for hidden_size in (4, 8):
        make_bundle(tmp_path / "bundle", ModelConfig(hidden_size=hidden_size, num_layers=1))
    assert Bundle.load(tmp_path / "bundle").model.hidden_size == 8
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failure_leaves_the_older_bundle(tmp_path, monkeypatch):
    make_bundle(tmp_path / "bundle", ModelConfig(hidden_size=4, num_layers=1))
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise OSError("no")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="no"):
            make_bundle(tmp_path / "bundle", ModelConfig(hidden_size=8, num_layers=1))
    assert Bundle.load(tmp_path / "bundle").model.hidden_size == 4
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
