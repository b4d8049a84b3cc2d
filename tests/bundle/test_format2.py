"""Format 2: weights that are stored once, front ends of two kinds, networks that were trained elsewhere."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")
onnx = pytest.importorskip("onnx", reason="making a bundle needs the [train] extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.card import model_card  # noqa: E402
from asr.bundle.export import write_bundle  # noqa: E402
from asr.bundle.facts import model_facts  # noqa: E402
from asr.bundle.front_end import WaveformConfig  # noqa: E402
from asr.bundle.runtime import OnnxRuntime, TorchRuntime, make_runtime  # noqa: E402
from asr.bundle.weights import to_onnx, to_torch  # noqa: E402
from asr.decoder import GreedyDecoder  # noqa: E402
from asr.errors import DataError, ModelError, UsageError  # noqa: E402
from asr.evaluation.evaluate import evaluate  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.preparation.options import PrepareOptions  # noqa: E402
from asr.preparation.prepare import prepare  # noqa: E402
from asr.store.store import AudioStore, FeatureStore  # noqa: E402
from asr.tokenizer import BLANK, CharTokenizer  # noqa: E402
from asr.transcription.transcribe import Transcriber  # noqa: E402

FEATURES = LogMelConfig(n_mels=12, sample_rate=8000)
TOKENIZER = CharTokenizer.from_texts(["one two"])
LSTM = ModelConfig("lstm", True, 2, hidden_size=24, conv_channels=3)


def make_bundle(directory, config=LSTM, seed=1):
    torch.manual_seed(seed)
    model = AcousticModel(config, 12, len(TOKENIZER)).eval()
    model.set_statistics(torch.linspace(-6, -4, 12), torch.linspace(1, 3, 12))
    bundle = Bundle(directory, "tiny", "for tests", FEATURES, mel_filterbank(FEATURES), config, TOKENIZER)
    return write_bundle(bundle, model, model_card(bundle), directory), model


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_weights_for_torch_come_back_from_the_order_of_onnx(tmp_path, cell, bidirectional):
    config = replace(LSTM, cell=cell, bidirectional=bidirectional)
    _, model = make_bundle(tmp_path / "bundle", config)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    again = to_torch(to_onnx(state, config), config)
    assert set(again) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(again[name], value)
    read = Bundle.load(tmp_path / "bundle").weights()
    for name, value in state.items():
        expected = value if name.startswith("normalisation.") else value.astype(np.float16)
        np.testing.assert_array_equal(read[name], expected)


def test_weights_are_stored_once(tmp_path):
    bundle, model = make_bundle(tmp_path / "bundle")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert (bundle.directory / "model.safetensors").stat().st_size >= 2 * numbers
    for name, inside in (("model.onnx", 0), ("model.int8.onnx", 1)):
        graph = onnx.load(bundle.directory / name, load_external_data=False)
        tensors = graph.graph.initializer
        own = sum(len(tensor.raw_data) for tensor in tensors if tensor.data_location != TensorProto.EXTERNAL)
        # A few constants; of int8, the recurrent weights in bytes, with their scales and biases.
        assert own < 200 + inside * 1.5 * numbers
        outside = {tensor.name for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL}
        assert {"output.matrix", "normalisation.mean", "front_end.convolutions.1.weight"} <= outside


def test_damage_is_named(tmp_path):
    bundle, _ = make_bundle(tmp_path / "bundle")
    other, _ = make_bundle(tmp_path / "other", seed=2)
    weights = bundle.directory / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes((other.directory / "model.safetensors").read_bytes())
    for device in ("cpu", "torch"):
        with pytest.raises(ModelError, match=r"model\.safetensors: is damaged or another model's"):
            OnnxRuntime(bundle, 1) if device == "cpu" else TorchRuntime(bundle, "cpu")
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        OnnxRuntime(bundle, 1)
    weights.write_bytes(whole)
    config = json.loads((bundle.directory / "config.json").read_text(encoding="utf-8"))
    for changes, message in (
        ({"format_version": 3}, "format version is 3; this version reads 1 and 2"),
        ({"front_end": {"kind": "cochlea"}}, "the front end 'cochlea'; this version reads log-mel, waveform"),
        ({"front_end": {"kind": "log-mel", "n_mel": 12}}, r"unknown key 'n_mel'.*did you mean 'n_mels'"),
        (
            {"front_end": {"kind": "log-mel", "n_mels": 13, "sample_rate": 8000}},
            r"shape \(12, 101\).*needs \(13, 101\)",
        ),
        ({"front_end": None}, "damaged"),
        ({"network": {"cell": "lstn"}}, "network.cell is 'lstn'"),
        ({"network": None, "frame_seconds": 0}, "a frame_seconds of 0.0; expected the seconds"),
        ({"decoding": {"gamma": 1}}, "numbers named alpha, beta, beam_size"),
    ):
        (bundle.directory / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
        with pytest.raises(ModelError, match=message):
            Bundle.load(bundle.directory)
    del config["front_end"]
    (bundle.directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="has no 'front_end'"):
        Bundle.load(bundle.directory)


def test_label_priors_are_read_and_checked(tmp_path):
    bundle, _ = make_bundle(tmp_path / "bundle")
    assert bundle.label_priors() is None
    priors = np.log(np.full(len(TOKENIZER), 1 / len(TOKENIZER)))
    path = bundle.directory / "label_priors.npy"
    np.save(path, priors)
    np.testing.assert_allclose(bundle.label_priors(), priors, rtol=1e-6)
    assert path in bundle.files
    for wrong in (priors[:-1], -priors):
        np.save(path, wrong)
        with pytest.raises(ModelError, match=r"label_priors\.npy: has the shape"):
            bundle.label_priors()
    path.write_text("so")
    with pytest.raises(ModelError, match=r"label_priors\.npy: cannot be read"):
        bundle.label_priors()


def write_waveform_bundle(directory, *, normalise):
    """Write a bundle whose network takes the mean square of every 20 ms, times a weight for each token."""
    weights = np.linspace(-3, 3, len(TOKENIZER), dtype=np.float32)[None]
    initializers = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array(160), "hop"),
    ]
    nodes = [
        helper.make_node("Mul", ["features", "features"], ["power"]),
        helper.make_node("Transpose", ["power"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("AveragePool", ["rows"], ["pooled"], kernel_shape=[160], strides=[160], ceil_mode=0),
        helper.make_node("Transpose", ["pooled"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"], axis=-1),
        helper.make_node("Div", ["lengths", "hop"], ["output_lengths"]),
    ]
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", "T", 1]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
    ]
    outputs = [
        helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["B", "T'", len(TOKENIZER)]),
        helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["B"]),
    ]
    graph = helper.make_graph(nodes, "power", inputs, outputs, initializers)
    directory.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(directory / "model.onnx"),
    )
    config = WaveformConfig(8000, normalise)
    bundle = Bundle(directory, "power", "for tests", config, None, None, TOKENIZER, stated_frame_seconds=0.02)
    for name, text in TOKENIZER.files().items():
        (directory / name).write_text(text, encoding="utf-8")
    (directory / "config.json").write_text(bundle.config_json(), encoding="utf-8")
    (directory / "README.md").write_text(model_card(bundle), encoding="utf-8")
    return Bundle.load(directory)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_network_that_takes_waveforms_is_used_like_any_other(tmp_path, normalise, toy):
    bundle = write_waveform_bundle(tmp_path / "bundle", normalise=normalise)
    assert (bundle.frame_samples, bundle.frame_seconds, bundle.model) == (160, 0.02, None)
    assert model_facts(bundle)["network"] is None
    samples = (0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)
    x = (samples - samples.mean()) / math.sqrt(samples.var() + 1e-7) if normalise else samples
    power = (x.reshape(-1, 160).astype(np.float64) ** 2).mean(axis=1)
    logits = power[:, None] * np.linspace(-3, 3, len(TOKENIZER))
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    transcriber = Transcriber(bundle, threads=1)
    np.testing.assert_allclose(transcriber.log_probs(samples), expected, atol=1e-5)
    assert transcriber.transcribe(samples, source_rate=8000).duration == 1.0
    for kind in ("features", "audio"):
        prepare(toy, tmp_path / kind, PrepareOptions(quiet=True, kind=kind))
    decoder = GreedyDecoder(TOKENIZER.tokens, blank=BLANK, frame_seconds=0.02)
    store = AudioStore.open(tmp_path / "audio" / "test")
    result = evaluate(store, bundle, make_runtime(bundle, threads=1), decoder)
    assert len(result.utterances) == len(store)
    with pytest.raises(DataError, match="holds features at 8000 Hz; expected waveforms at 8000 Hz"):
        evaluate(FeatureStore.open(tmp_path / "features" / "test"), bundle, make_runtime(bundle), decoder)
    with pytest.raises(UsageError, match="trained elsewhere and has no weights for torch"):
        TorchRuntime(bundle, "cpu")


def test_files_that_are_missing_are_named(tmp_path):
    bundle, _ = make_bundle(tmp_path / "bundle")
    for path in bundle.files:
        if path.name not in ("model.int8.onnx", "model.stream.onnx"):
            copy = tmp_path / path.name
            shutil.copytree(bundle.directory, copy)
            (copy / path.name).unlink()
            with pytest.raises(ModelError, match=f"{path.name} missing"):
                Bundle.load(copy)
