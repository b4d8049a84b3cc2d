"""ONNX Runtime in float32 and int8: near each other, unmoved by neighbours and threads; errors say what is wrong."""

import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")

from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.export import write_bundle  # noqa: E402
from asr.bundle.runtime import OnnxRuntime, TorchRuntime, make_runtime  # noqa: E402
from asr.errors import AsrError, ModelError, UsageError  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402

FEATURES = LogMelConfig(n_mels=12, sample_rate=8000)
TOKENIZER = CharTokenizer.from_texts(["one two"])
# What eight bits cost: of any probability at most, and of the log-probabilities on average, in nats.
MAX_PROBABILITY_ERROR = 0.1
MEAN_LOG_PROB_ERROR = 0.1


def make_bundle(directory, config, seed=1):
    torch.manual_seed(seed)
    model = AcousticModel(config, FEATURES.n_mels, len(TOKENIZER)).eval()
    # The output layer is small at the start of training: larger here, for log-probs as peaked as a trained model's.
    with torch.no_grad():
        model.output.weight.mul_(8)
    bundle = Bundle(directory, "tiny", "for tests", FEATURES, mel_filterbank(FEATURES), config, TOKENIZER)
    return write_bundle(bundle, model, "# tiny\n", directory)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    config = ModelConfig(num_layers=2, hidden_size=16, conv_channels=3)
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny", config)


def utterances(*lengths):
    rng = np.random.default_rng(1)
    return [rng.standard_normal((length, FEATURES.n_mels), dtype=np.float32) for length in lengths]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("time_reduction", [2, 4])
@pytest.mark.parametrize(("layers", "hidden"), [(1, 8), (3, 40)])
def test_int8_is_near_float32(tmp_path, bidirectional, time_reduction, layers, hidden):
    config = ModelConfig("lstm", bidirectional, layers, hidden, conv_channels=3, time_reduction=time_reduction)
    bundle = make_bundle(tmp_path / "model", config)
    exact, quantised = OnnxRuntime(bundle, 1), OnnxRuntime(bundle, 1, "int8")
    features = utterances(1, 2, 57, 200)
    expected, got = (np.concatenate(runtime(features)) for runtime in (exact, quantised))
    assert got.shape == expected.shape
    assert np.abs(np.exp(got) - np.exp(expected)).max() < MAX_PROBABILITY_ERROR
    # Above the error of float32: it is another computation.
    assert 1e-3 < np.abs(got - expected).mean() < MEAN_LOG_PROB_ERROR


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_neither_neighbours_nor_threads_change_an_utterance(bundle, precision):
    features = utterances(90, 3, 61, 200, 1, 90)
    runtimes = [make_runtime(bundle, threads=threads, precision=precision) for threads in (1, 2, 0)]
    alone = [runtimes[0]([x])[0] for x in features]
    tolerance = 0 if precision == "int8" else 1e-5
    for runtime in runtimes:
        for expected, got in zip(alone, runtime(features), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
        with ThreadPoolExecutor(4) as pool:
            for expected, (got,) in zip(alone, pool.map(runtime, [[x] for x in features]), strict=True):
                np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
        assert runtime([]) == []
        assert runtime.batches == (precision == "float32")
        assert precision in runtime.name


def test_models_in_torch_run_one_after_the_other(bundle, monkeypatch):
    # TF32 is switched off for the whole process, and back on when a call ends.
    runtimes, running = [TorchRuntime(bundle, "cpu"), TorchRuntime(bundle, "cpu")], []
    forward = AcousticModel.forward

    def alone(*arguments):
        running.append(1)
        time.sleep(0.05)
        assert len(running) == 1
        running.pop()
        return forward(*arguments)

    monkeypatch.setattr(AcousticModel, "forward", alone)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda runtime: runtime(utterances(30))[0], runtimes)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("cell", ["gru", "rnn_tanh", "rnn_relu"])
def test_int8_is_refused_where_it_would_change_nothing(tmp_path, cell):
    bundle = make_bundle(tmp_path / "model", ModelConfig(cell, num_layers=1, hidden_size=4))
    assert bundle.precisions == ("float32",)
    with pytest.raises(UsageError, match=rf"int8 is for LSTMs.*{cell}.*float32"):
        make_runtime(bundle, precision="int8")


def test_a_bundle_without_the_int8_graph_names_the_command_that_makes_it(bundle, tmp_path):
    shutil.copytree(bundle.directory, tmp_path / "a model")
    (tmp_path / "a model" / "model.int8.onnx").unlink()
    lacking = Bundle.load(tmp_path / "a model")
    assert lacking.precisions == ("float32",)
    command = f"asr export '{tmp_path / 'a model'}' --format huggingface --precision int8"
    with pytest.raises(ModelError, match=command):
        make_runtime(lacking, precision="int8")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_graph_of_other_weights_is_refused(bundle, tmp_path, precision):
    other = make_bundle(tmp_path / "other", bundle.model, seed=2)
    mixed = tmp_path / "mixed"
    shutil.copytree(bundle.directory, mixed)
    shutil.copytree(other.directory, mixed, dirs_exist_ok=True, ignore=lambda *_: ["config.json", "model.safetensors"])
    with pytest.raises(ModelError, match="belongs to another model"):
        make_runtime(Bundle.load(mixed), precision=precision)
    config = json.loads((mixed / "config.json").read_text())
    assert config["weights_sha256"] == bundle.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_graph_of_another_shape_is_refused(bundle, precision):
    other = replace(bundle, tokenizer=CharTokenizer.from_texts(["another alphabet"]))
    with pytest.raises(ModelError, match="gives 7 tokens"):
        make_runtime(other, precision=precision)


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("model.onnx", make_runtime),
        ("model.int8.onnx", lambda bundle: make_runtime(bundle, precision="int8")),
        ("model.safetensors", lambda bundle: TorchRuntime(bundle, "cpu")),
    ],
)
def test_truncated_weights_are_named(bundle, tmp_path, name, load):
    shutil.copytree(bundle.directory, tmp_path / "model")
    path = tmp_path / "model" / name
    whole = path.read_bytes()
    for size in (0, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=rf"{name}.*(export|install)"):
            load(Bundle.load(tmp_path / "model"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "expected float32 or int8 \\(did you mean 'int8'"),
        ({"threads": -1}, "threads is -1"),
        ({"device": "cuda", "threads": 2}, "threads \\(2\\) are for the device cpu"),
        ({"device": "cuda", "precision": "int8"}, "precision int8 is for the device cpu"),
        ({"device": "graphics"}, "'graphics' cannot be used"),
        ({"device": "cuda:99"}, "'cuda:99' cannot be used"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error(bundle, options, message):
    with pytest.raises(UsageError, match=message):
        make_runtime(bundle, **options)


def test_cuda_without_torch_is_onnxruntimes_where_it_has_it(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(AsrError, match=r"ctc-asr\[train\]"):
        make_runtime(bundle, device="cuda")
    import onnxruntime

    # As onnxruntime-gpu reports on a machine whose driver or CUDA is missing: it offers CUDA, and falls back.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(UsageError, match="onnxruntime-gpu"):
        make_runtime(bundle, device="cuda:0")
    with pytest.raises(UsageError, match="expected cpu, cuda or cuda:N"):
        make_runtime(bundle, device="cuda0")
