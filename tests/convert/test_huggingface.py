"""Models of transformers with random weights: the bundle gives what the original gives."""

import json
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="converting models of Hugging Face needs the [convert] extra")
transformers = pytest.importorskip("transformers", reason="converting them needs the [convert] extra")
pytest.importorskip("onnx", reason="converting them needs the [convert] extra")

from asr.bundle.runtime import make_runtime  # noqa: E402
from asr.convert.convert import convert  # noqa: E402
from asr.decoder import GreedyDecoder  # noqa: E402
from asr.errors import ModelError, UsageError  # noqa: E402
from asr.transcription.transcribe import Transcriber  # noqa: E402
from tests.convert.random_models import FAMILIES, LETTERS, make_model, original_text  # noqa: E402
from tests.convert.test_onnx_folder import in_one_batch  # noqa: E402


def recordings():
    random = np.random.default_rng(11)
    seconds = [0.5, 0.71, 1.3, 2.02, 3.7, 6.1]
    return [(0.1 * random.standard_normal(round(16_000 * s)) * random.random()).astype(np.float32) for s in seconds]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_converted_model_gives_the_original_s_log_probs_and_words(tmp_path, family):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, extractor, tokens = make_model(family, tmp_path / "source")
        bundle = convert(tmp_path / "source", tmp_path / "bundle", origin="test/model@1")
    assert bundle.graph.batches == FAMILIES[family][3]
    assert bundle.frame_seconds == {"Parakeet": 0.08, "Lasr": 0.04}.get(family, 0.02)
    runtime = make_runtime(bundle, threads=1)
    samples = recordings()
    inputs = [bundle.front_end(x) for x in samples]
    together = in_one_batch(bundle, inputs) if bundle.graph.batches else runtime(inputs)
    pad = tokens.index("<pad>")
    order = [pad, *(index for index in range(len(tokens)) if index != pad)]
    decoder = GreedyDecoder(bundle.tokenizer.tokens, blank=0)
    for x, in_batch in zip(samples, together, strict=True):
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            inputs = extractor(x, sampling_rate=16_000, return_tensors="pt")
            expected = torch.log_softmax(model(**inputs).logits, dim=-1)[0].numpy()[:, order]
        (alone,) = runtime([bundle.front_end(x)])
        expected = expected[: len(alone)]
        assert alone.shape == expected.shape
        np.testing.assert_allclose(alone, expected, atol=1e-3)
        np.testing.assert_allclose(in_batch, expected, atol=1e-3)
        ids = [order[index] for index in expected.argmax(axis=1)]
        assert decoder.decode(alone).split() == original_text(tokens, tmp_path / "source", ids).split()
    transcript = Transcriber(bundle, threads=1).transcribe(samples[-1], source_rate=16_000)
    assert transcript.duration == pytest.approx(len(samples[-1]) / 16_000)


def test_the_language_chooses_adapter_and_vocabulary(tmp_path):
    from safetensors.torch import save_file

    source = tmp_path / "source"
    vocabularies = {"eng": LETTERS, "fra": [*LETTERS[:5], *"XYZUVWKLMJ'"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_model("Wav2Vec2 with adapters", source)
        (source / "vocab.json").write_text(
            json.dumps({name: {token: i for i, token in enumerate(tokens)} for name, tokens in vocabularies.items()})
        )
        model = transformers.Wav2Vec2ForCTC.from_pretrained(source)
        for name, tokens in vocabularies.items():
            weights = {key: torch.randn_like(value) for key, value in model._get_adapters().items()}
            weights |= {"lm_head.weight": torch.randn(len(tokens), 16), "lm_head.bias": torch.randn(len(tokens))}
            save_file(weights, source / f"adapter.{name}.safetensors")
        model.load_adapter("fra")
        bundle = convert(source, tmp_path / "bundle", language="fra")
        samples = recordings()[2]
        inputs = transformers.Wav2Vec2FeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            expected = torch.log_softmax(model.eval()(**inputs).logits, dim=-1)[0].numpy()
    assert bundle.language == "fra"
    assert bundle.tokenizer.tokens[1:] == tuple(vocabularies["fra"][1:])
    (got,) = make_runtime(bundle, threads=1)([bundle.front_end(samples)])
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_what_is_no_ctc_model_or_unknown_is_refused(tmp_path):
    source = tmp_path / "source"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_model("Wav2Vec2", source)
    config = json.loads((source / "config.json").read_text())
    processor = json.loads((source / "preprocessor_config.json").read_text())
    for name, changes, message in (
        ("config.json", config | {"architectures": ["WhisperForConditionalGeneration"]}, "is WhisperForConditional"),
        ("config.json", config | {"architectures": ["NewForCTC"]}, "is NewForCTC, which transformers"),
        ("preprocessor_config.json", processor | {"feature_extractor_type": "Mine"}, "the feature extractor is Mine"),
        ("vocab.json", {"<pad>": 0, "a": 1}, "lists 2 tokens, and the network's output has 15 columns"),
        ("vocab.json", {"<pad>": 0, "a": 2}, "none has the id 1"),
        ("vocab.json", {"eng": {"<pad>": 0}, "fra": {"<pad>": 0}}, "2 languages .eng, fra, ….*--language"),
    ):
        before = (source / name).read_text()
        (source / name).write_text(json.dumps(changes))
        with pytest.raises(ModelError, match=message):
            convert(source, tmp_path / "bundle")
        (source / name).write_text(before)
    with pytest.raises(UsageError, match="leave it out"):
        convert(source, tmp_path / "bundle", blank=0)
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        convert(source, tmp_path / "bundle")
    weights.rename(source / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has no model\.safetensors; pickled weights are not read"):
        convert(source, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(UsageError, match="no such file or folder"):
        convert(tmp_path / "nothing", tmp_path / "bundle")
