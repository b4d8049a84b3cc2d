"""Bundles hold the graph for streams, whose weights are those of the whole graph, stored once."""

import shutil
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")

from asr.bundle.bundle import STREAMING_GRAPH, WEIGHTS, Bundle  # noqa: E402
from asr.bundle.export import write_bundle  # noqa: E402
from asr.bundle.publish import export_huggingface  # noqa: E402
from asr.bundle.streaming_runtime import OnnxStreamingRuntime  # noqa: E402
from asr.errors import ModelError, UsageError  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402

FEATURES = LogMelConfig(n_mels=12, sample_rate=8000)
TOKENIZER = CharTokenizer.from_texts(["one two"])


def make(directory, seed=0, **options):
    torch.manual_seed(seed)
    config = ModelConfig(num_layers=2, hidden_size=64, conv_channels=4, **options)
    model = AcousticModel(config, FEATURES.n_mels, len(TOKENIZER)).eval()
    bundle = Bundle(directory, "tiny", "for tests", FEATURES, mel_filterbank(FEATURES), config, TOKENIZER)
    return write_bundle(bundle, model, "# tiny\n", directory)


def run(bundle):
    runtime = OnnxStreamingRuntime(bundle)
    features = np.random.default_rng(1).standard_normal((1, 40, 12)).astype(np.float32)
    state = np.zeros((1, runtime.state_size), np.float32)
    return runtime(features, np.array([40]), state, 2 * runtime.is_bidirectional)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("options", [{"bidirectional": False, "lookahead_frames": 3}, {}])
def test_it_is_written_once_and_gives_what_one_built_anew_gives(tmp_path, monkeypatch, cell, options):
    bundle = make(tmp_path / "new", cell=cell, **options)
    graph = bundle.directory / STREAMING_GRAPH
    assert graph in bundle.files
    assert graph.stat().st_size < (bundle.directory / WEIGHTS).stat().st_size / 3
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnx", None)
        without.delitem(sys.modules, "asr.bundle.streaming_graph", raising=False)
        stored = run(bundle)
    graph.unlink()
    for first, second in zip(stored, run(bundle), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
    export_huggingface(bundle, tmp_path / "without")
    assert not (tmp_path / "without" / STREAMING_GRAPH).exists()
    export_huggingface(bundle, tmp_path / "with", streaming=True)
    for first, second in zip(stored, run(Bundle.load(tmp_path / "with")), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_model_that_cannot_stream_gets_none(tmp_path):
    bundle = make(tmp_path / "whole", normalisation="utterance")
    assert not (bundle.directory / STREAMING_GRAPH).exists()
    with pytest.raises(UsageError, match="cannot stream: its features are normalised over the whole utterance"):
        export_huggingface(bundle, tmp_path / "out", streaming=True)


def test_another_models_graph_is_refused(tmp_path):
    one, other = (make(tmp_path / str(seed), seed, bidirectional=False) for seed in (1, 2))
    shutil.copy(other.directory / STREAMING_GRAPH, one.directory / STREAMING_GRAPH)
    with pytest.raises(ModelError, match="belongs to another model"):
        run(one)
