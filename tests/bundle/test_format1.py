"""Bundles of format 1, whose features are normalised before the network, give what they always gave."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import OnnxRuntime
from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.errors import ModelError
from asr.features import LogMel, LogMelConfig
from asr.transcription.transcribe import Transcriber

BUNDLE = Path(__file__).parent / "format1"


@pytest.fixture(scope="module")
def recorded():
    """What the program that wrote the bundle made of half a second of sound."""
    with np.load(BUNDLE.with_suffix(".npz")) as file:
        return dict(file)


def samples_of(recorded):
    return recorded["pcm"].astype(np.float32) / 32768


def normalised(plain, mean=None, std=None):
    """Return features ``(T, F)`` as format 1 has them, operation by operation."""
    x = plain.copy()
    if mean is not None:
        x -= mean
        x /= std
        return x.astype(np.float16)
    ones = np.ones(len(x), np.float32)
    x -= x[0].copy()
    x -= ((ones @ x).astype(np.float64) / len(x)).astype(np.float32)
    x *= 1 / np.maximum(np.sqrt(((ones @ np.square(x)).astype(np.float64) / len(x)).astype(np.float32)), 1e-2)
    return x.astype(np.float16)


def run_graph(directory, features):
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = {"features": features[None].astype(np.float32), "lengths": np.array([len(features)])}
    return session.run(["log_probs"], inputs)[0][0]


def test_it_gives_what_was_recorded(recorded):
    bundle = Bundle.load(BUNDLE)
    assert (bundle.format_version, bundle.model.normalisation) == (1, "utterance")
    # Other processors add up in another order: those that recorded this give the same bits.
    np.testing.assert_allclose(bundle.front_end(samples_of(recorded)), recorded["features"], atol=2e-3)
    features = [recorded["features"]]
    np.testing.assert_allclose(OnnxRuntime(bundle, 1)(features)[0], recorded["float32"], atol=1e-4)
    np.testing.assert_allclose(OnnxRuntime(bundle, 1, "int8")(features)[0], recorded["int8"], atol=0.1)
    heard = Transcriber(bundle, threads=1).log_probs(samples_of(recorded))
    np.testing.assert_allclose(heard, recorded["transcriber"], atol=0.02)


def test_torch_gives_what_was_recorded(recorded):
    pytest.importorskip("torch", reason="TorchRuntime needs the [train] extra")
    from asr.bundle.runtime import TorchRuntime

    runtime = TorchRuntime(Bundle.load(BUNDLE), "cpu")
    np.testing.assert_allclose(runtime([recorded["features"]])[0], recorded["torch"], atol=1e-4)


def test_the_arithmetic_is_that_of_format_1_bit_for_bit(recorded, tmp_path):
    samples = samples_of(recorded)
    bundle = Bundle.load(BUNDLE)
    plain = LogMel(bundle.features, bundle.filterbank)(samples)
    features = normalised(plain)
    np.testing.assert_array_equal(bundle.front_end(samples), features)
    np.testing.assert_array_equal(OnnxRuntime(bundle, 1)([features])[0], run_graph(BUNDLE, features))
    # With statistics of its training set.
    mean, std = plain.mean(axis=0), plain.std(axis=0)
    model = copy(tmp_path, normalisation="global", mean=mean.tolist(), std=std.tolist())
    np.testing.assert_array_equal(Bundle.load(model).front_end(samples), normalised(plain, mean, std))
    model = copy(tmp_path, normalisation="none", mean=[], std=[])
    np.testing.assert_array_equal(Bundle.load(model).front_end(samples), plain.astype(np.float16))


def test_a_band_that_never_changed_is_not_blown_up_in_streams(recorded, tmp_path):
    pytest.importorskip("onnx", reason="building a graph needs the [train] extra")
    features = LogMel(LogMelConfig(n_mels=12, sample_rate=8000), Bundle.load(BUNDLE).filterbank)(samples_of(recorded))
    heard = []
    for least in (0.0, 0.01):
        model = copy(tmp_path, normalisation="global", mean=[-5.0] * 12, std=[least, *[2.0] * 11])
        runtime = OnnxStreamingRuntime(Bundle.load(model))
        state = np.zeros((1, runtime.state_size), np.float32)
        heard.append(runtime(features[None, :40], np.array([40]), state, 1)[0])
    np.testing.assert_array_equal(*heard)
    assert np.isfinite(heard).all()


def copy(folder, **changes):
    """Return a copy of the bundle whose configuration says something else of its features."""
    model = folder / "-".join(str(value)[:12] for value in changes.values())
    shutil.copytree(BUNDLE, model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["features"] |= changes
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return model


@pytest.mark.parametrize("normalisation", ["utterance", "global", "none"])
def test_the_configuration_is_written_as_it_was(tmp_path, normalisation):
    statistics = [0.5] * 12 if normalisation == "global" else []
    model = copy(tmp_path, normalisation=normalisation, mean=statistics, std=statistics)
    before = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert json.loads(Bundle.load(model).config_json()) == before


def test_statistics_that_do_not_fit_are_refused(tmp_path):
    model = copy(tmp_path, normalisation="global", mean=[0.0], std=[1.0])
    with pytest.raises(ModelError, match=r"1 values for normalisation.mean; expected 12"):
        Bundle.load(model)
    with pytest.raises(ModelError, match=r"normalisation is 'utterence'.*did you mean 'utterance'"):
        Bundle.load(copy(tmp_path, normalisation="utterence"))
