"""A …ForCTC model that transformers saved → an ONNX graph, by torch. Needs the [convert] extra.

The graph takes features and their lengths and gives log-probabilities and theirs, as our own graphs do, with the
blank in front.
"""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr.bundle.front_end import WaveformConfig, foreign_front_end
from asr.bundle.graph_config import GraphConfig
from asr.convert.draft import Draft
from asr.convert.graph import external_files, open_graph, try_graph
from asr.convert.vocabulary import check_blank, fit_tokens, in_order, read_object, read_vocab_json, reading
from asr.errors import MissingExtraError, ModelError, first_line
from asr.fbank import PRESETS, FbankConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
# The input's length while the graph is traced, in seconds.
TRACE_SECONDS = 2.0
# Presets of `asr.fbank` by the feature extractor's name.
EXTRACTORS = {
    "ParakeetFeatureExtractor": "parakeet",
    "LasrFeatureExtractor": "lasr",
    "SeamlessM4TFeatureExtractor": "seamless",
}


@contextmanager
def exported(folder: Path, config: dict[str, Any], language: str) -> Iterator[Draft]:
    """Yield the draft of a bundle; its graph lies in a folder that goes away afterwards.

    Parameters
    ----------
    folder : Path
        As ``save_pretrained`` of the model and its processor write it.
    config : dict
        The content of ``config.json``.
    language : str
        Of MMS: which of its adapters and vocabularies.

    Raises
    ------
    ModelError
        If it is no CTC model, its features are unknown, or it cannot be exported.
    MissingExtraError
        If torch or transformers are not installed.
    """
    name = config["architectures"][0]
    features = read_front_end(folder)
    model = _load(folder, name, language)
    width = 1 if isinstance(features, WaveformConfig) else features.width
    columns = int(model.config.vocab_size)
    tokens = fit_tokens(_read_vocabulary(folder, language), columns, folder)
    blank = check_blank(model.config.pad_token_id, columns, folder)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        # Models whose first layer is normalised over time were trained without a mask, on one utterance.
        masked = config.get("feat_extract_norm", "layer") != "group"
        _export(model, path, foreign_front_end(features), width, blank, masked=masked)
        data_files = tuple(external_files(path))
        graph = GraphConfig(data_files=data_files, receptive=_receptive(model.config))
        trial = try_graph(open_graph(path), graph, features, path)
        frame_samples = features.frame_samples if isinstance(features, FbankConfig) else 1
        frame_seconds = trial.stride * frame_samples / features.sample_rate
        # The trial's columns have the blank in front, as its tokens will.
        yield Draft(
            f"a {name.removesuffix('ForCTC')} CTC model",
            features,
            replace(
                trial.graph,
                batches=trial.graph.batches and masked,
                max_seconds=_positions(model.config) * frame_seconds,
            ),
            tokens,
            blank,
            frame_seconds,
            path,
        )


def read_front_end(folder: Path) -> WaveformConfig | FbankConfig:
    """Return what a folder's feature extractor makes of samples.

    Raises
    ------
    ModelError
        If its extractor is unknown here, or has other settings than ours.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        path = folder / "processor_config.json"
    with reading(path):
        settings = read_object(path)
        return _front_end(settings.get("feature_extractor", settings), path)


def _front_end(settings: dict[str, Any], path: Path) -> WaveformConfig | FbankConfig:
    name = settings.get("feature_extractor_type", "")
    rate = int(settings.get("sampling_rate", 16_000))
    if name == "Wav2Vec2FeatureExtractor":
        return WaveformConfig(rate, bool(settings.get("do_normalize", True)))
    if name not in EXTRACTORS:
        raise ModelError(
            f"{path}: the feature extractor is {name or 'not named'}; expected Wav2Vec2FeatureExtractor, "
            f"{', '.join(EXTRACTORS)}"
        )
    config = PRESETS[EXTRACTORS[name]]
    if name == "SeamlessM4TFeatureExtractor":
        stride = int(settings.get("stride", 2))
        return replace(config, sample_rate=rate, n_mels=int(settings["num_mel_bins"]), stack=stride, stack_hop=stride)
    return replace(
        config,
        sample_rate=rate,
        n_mels=int(settings["feature_size"]),
        window_samples=int(settings.get("win_length", config.window_samples)),
        hop_samples=int(settings.get("hop_length", config.hop_samples)),
        n_fft=int(settings.get("n_fft", config.n_fft)),
        preemphasis=float(settings.get("preemphasis") or 0.0),
    )


def _read_vocabulary(folder: Path, language: str) -> list[str]:
    if (folder / "vocab.json").is_file():
        return read_vocab_json(folder, language)
    path = folder / "tokenizer.json"
    with reading(path):
        tokenizer = read_object(path)
        vocabulary = tokenizer.get("model", {}).get("vocab", {})
        # A unigram model lists [piece, score], others map piece to id.
        indices = (
            {piece: index for index, (piece, _) in enumerate(vocabulary)}
            if isinstance(vocabulary, list)
            else vocabulary
        )
        added = {entry["content"]: int(entry["id"]) for entry in tokenizer.get("added_tokens", [])}
        return in_order({**indices, **added}, path)


def _load(folder: Path, name: str, language: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "convert", "converting a model of Hugging Face") from None
    model_class = getattr(transformers, name, None)
    if model_class is None:
        raise ModelError(f"{folder}: is {name}, which transformers {transformers.__version__} does not know")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Safetensors alone: pickled weights could run code.
            model = model_class.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation="eager",
            )
            if language and list(folder.glob(f"adapter.{language}.safetensors")):
                model.load_adapter(language)
        except Exception as error:
            raise ModelError(f"{folder}: cannot be loaded ({first_line(error)}); download it again") from None
    return model.eval()


def _receptive(config: Any) -> int:
    """Return how many frames of the input the network needs for one of its output."""
    encoder = getattr(config, "encoder_config", None) or config
    if not hasattr(config, "conv_kernel") or config.model_type == "wav2vec2-bert":
        # Two convolutions without padding of Lasr; those of others are padded.
        return 13 if config.model_type.startswith("lasr") and encoder.subsampling_conv_kernel_size == 5 else 1
    frames = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        frames = (frames - 1) * stride + kernel
    return frames


def _positions(config: Any) -> int:
    """Return how many output frames the network has positions for; 0: any."""
    encoder = getattr(config, "encoder_config", None) or config
    if getattr(encoder, "position_embeddings_type", "relative") == "relative_key":
        # Distances beyond the largest share its embedding.
        return 0
    names = ("max_position_embeddings", "max_source_positions")
    return next((int(value) for name in names if (value := getattr(encoder, name, None))), 0)


def _export(model: Any, path: Path, front_end: Any, width: int, blank: int, *, masked: bool) -> None:
    import torch

    network = _network(model, width, blank, masked=masked)
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(TRACE_SECONDS * front_end.sample_rate))
    features = torch.from_numpy(front_end(noise.astype(np.float32)))
    T = len(features)
    # Two utterances of different lengths: with one, dimensions of size 1 would become constants.
    batch = torch.stack((features, features.flip(0)))
    lengths = torch.tensor([T, T - T // 4])
    names = ["features", "lengths"], ["log_probs", "output_lengths"]
    axes = {"features": {0: "B", 1: "T"}, "lengths": {0: "B"}, "log_probs": {0: "B", 1: "T_out"}}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network, (batch, lengths), str(path), input_names=names[0], output_names=names[1],
                dynamic_axes={**axes, "output_lengths": {0: "B"}}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        except Exception as error:
            raise ModelError(
                f"{type(model).__name__} cannot be exported by torch {torch.__version__} ({first_line(error)})"
            ) from None


def _network(model: Any, width: int, blank: int, *, masked: bool) -> "nn.Module":
    """Return a module from features ``(B, T, F)`` and lengths to log-probabilities and theirs, blank first."""
    import torch

    order = [blank, *(index for index in range(model.config.vocab_size) if index != blank)]
    if hasattr(model, "_get_feat_extract_output_lengths"):
        count = model._get_feat_extract_output_lengths
    else:
        count = model._get_subsampling_output_length

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.order: Tensor
            self.register_buffer("order", torch.tensor(order))

        def forward(self, features: "Tensor", lengths: "Tensor") -> tuple["Tensor", "Tensor"]:
            mask = (torch.arange(features.shape[1])[None] < lengths[:, None]).to(torch.long)
            x = features[:, :, 0] if width == 1 else features
            logits = self.model(x, attention_mask=mask if masked else None).logits
            log_probs = torch.log_softmax(logits, dim=-1)
            return log_probs.index_select(2, self.order), count(lengths).to(torch.int64)

    return Network()
