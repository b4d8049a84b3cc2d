"""Folders with an ONNX file: onnx-asr's, sherpa-onnx's, what NeMo and optimum export. Needs neither torch nor onnx."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr.bundle.front_end import WaveformConfig
from asr.convert.draft import Draft
from asr.convert.graph import external_files, open_graph, tensors, try_graph
from asr.convert.vocabulary import (
    check_blank,
    find_blank,
    fit_tokens,
    read_object,
    read_tokens,
    read_vocab_json,
    reading,
)
from asr.errors import ModelError
from asr.fbank import PRESETS, FbankConfig

VOCABULARIES = ("vocab.txt", "tokens.txt")


@dataclass(frozen=True)
class Family:
    """Models that take the same features.

    Parameters
    ----------
    description : str
    preset : str
        Of `asr.fbank.PRESETS`; empty for the waveform.
    layout : str
        As for `GraphConfig`.
    waveform : WaveformConfig
        Without a preset.
    max_seconds : float
    constants : dict of str to int
    skip : int
        As for `GraphConfig`.
    blank : int, optional
        The column of the blank, where its token's name does not tell it.
    """

    description: str
    preset: str = ""
    layout: str = "frames"
    waveform: WaveformConfig = field(default_factory=WaveformConfig)
    max_seconds: float = 0.0
    constants: dict[str, int] = field(default_factory=dict)
    skip: int = 0
    blank: int | None = None


NEMO = Family("a CTC model of NeMo", "nemo", "bands")
# Before its text, it says the language, the mood, what else is heard, and whether numbers are digits.
SENSE_VOICE = Family("a CTC model, SenseVoice", "sense-voice", skip=4)
# By the model_type in config.json (onnx-asr) or in the graph's metadata (sherpa-onnx).
FAMILIES = {
    "nemo-conformer-ctc": NEMO,
    "EncDecCTCModel": NEMO,
    "EncDecCTCModelBPE": NEMO,
    "EncDecHybridRNNTCTCBPEModel": NEMO,
    "zipformer2_ctc": Family("a Zipformer CTC model of icefall", "icefall"),
    "wenet_ctc": Family("a CTC model of WeNet", "kaldi"),
    "medasr_ctc": Family("a Conformer CTC model, MedASR", "lasr"),
    "omnilingual-asr": Family(
        "a CTC model of Omnilingual ASR",
        waveform=WaveformConfig(normalise=True, epsilon=1e-5),
        max_seconds=40.0,
    ),
    "sense_voice_ctc": SENSE_VOICE,
    # The graph normalises the waveform itself.
    "wav2vec2-ctc": Family("a wav2vec 2.0 CTC model"),
}
NOT_CTC = {
    "rnnt": "a transducer", "tdt": "a transducer", "transducer": "a transducer", "aed": "an attention model",
    "whisper": "an attention model", "moonshine": "an attention model", "speech_to_text": "an attention model",
    "canary": "an attention model",
}  # fmt: skip


def onnx_files(folder: Path) -> list[str]:
    """Return the names of the ONNX files in a folder and in its folder ``onnx``, parted by ``/``."""
    return sorted(
        path.relative_to(folder).as_posix() for glob in ("*.onnx", "onnx/*.onnx") for path in folder.glob(glob)
    )


def read_onnx_folder(folder: Path, *, graph: Path | None = None, blank: int | None = None, language: str = "") -> Draft:
    """Return the draft of a bundle.

    Parameters
    ----------
    folder : Path
    graph : Path, optional
        Which of several ONNX files.
    blank : int, optional
        The column of the blank; by default it is told by its name.
    language : str
        Of MMS, whose vocabulary; of SenseVoice, the language that it is told, instead of finding it out.

    Raises
    ------
    ModelError
        If the folder has not what it needs, or the model is not one of CTC that is known here.
    """
    config = read_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    path = graph or folder / choose_graph(onnx_files(folder), folder)
    refuse_others(config, folder)
    session = open_graph(path)
    metadata = session.get_modelmeta().custom_metadata_map
    with reading(folder / "config.json" if config else path):
        family, features = _family(folder, config, metadata, session, language)
    layout = family.layout if family.preset else ""
    shape = replace(tensors(session, path, layout, family.constants), skip=family.skip)
    trial = try_graph(session, shape, features, path)
    tokens, own_blank = _tokens(folder, config, trial.columns, language)
    own_blank = family.blank if own_blank is None else own_blank
    if blank is None:
        blank = find_blank(tokens, folder) if own_blank is None else own_blank
    elif not 0 <= blank < trial.columns:
        raise ModelError(f"{path}: the blank is {blank}; expected a column, 0 to {trial.columns - 1}")
    frame_samples = features.frame_samples if isinstance(features, FbankConfig) else 1
    quantised = path.with_name(int8_of(path.name)) if int8_of(path.name) else None
    return Draft(
        family.description,
        features,
        replace(trial.graph, blank=blank, max_seconds=family.max_seconds),
        tokens,
        blank,
        trial.stride * frame_samples / features.sample_rate,
        path,
        quantised if quantised and quantised.is_file() and not external_files(quantised) else None,
    )


def choose_graph(names: Sequence[str], folder: object) -> str:
    """Return which of a folder's ONNX files is the whole network.

    Parameters
    ----------
    names : sequence of str
        As `onnx_files` gives them.
    folder : Path or other
        For messages.

    Raises
    ------
    ModelError
        If that cannot be told, or the network is in several files, as only other kinds of models have it.
    """
    known = [name for name in ("model.onnx", "onnx/model.onnx", "ctc-model.onnx", "model.int8.onnx") if name in names]
    if known:
        return known[0]
    whole = [name for name in names if "int8" not in name] or list(names)
    if any("decoder" in name or "joint" in name for name in names):
        raise ModelError(
            f"{folder}: holds {', '.join(names)}: a transducer or an attention model; expected a CTC model, whose "
            "network is one file"
        )
    if len(whole) != 1:
        raise ModelError(
            f"{folder}: holds {', '.join(names) or 'no ONNX file'}; expected one: give that file instead of the folder"
        )
    return whole[0]


def int8_of(graph: str) -> str:
    """Return the name that the quantised twin of a graph has; empty of one that is quantised itself."""
    return "" if "int8" in graph else graph.removesuffix(".onnx") + ".int8.onnx"


def refuse_others(config: dict[str, Any], folder: object) -> None:
    """Refuse a ``config.json`` that is of no CTC model; raises ``ModelError``, which says what it is."""
    (name, *_) = config.get("architectures") or [""]
    if name and not str(name).endswith("ForCTC"):
        raise ModelError(
            f"{folder}: is {name}{_kind(str(config.get('model_type', '')))}; expected a CTC model, whose name ends in "
            "ForCTC"
        )
    model_type = str(config.get("model_type", ""))
    if not name and (kind := _kind(model_type)):
        raise ModelError(f"{folder}: {model_type} is{kind.removeprefix(',')}; expected a CTC model")


def _kind(model_type: str) -> str:
    kinds = [kind for part, kind in NOT_CTC.items() if model_type.endswith(part) or model_type.startswith(part)]
    return f", {kinds[0]}" if kinds else ""


def _family(
    folder: Path, config: dict[str, Any], metadata: dict[str, str], session: Any, language: str
) -> tuple[Family, WaveformConfig | FbankConfig]:
    """Return what the model is, and its front end."""
    model_type = str(config.get("model_type") or metadata.get("model_type") or "")
    first = session.get_inputs()[0]
    if "architectures" in config:
        return _of_hugging_face(folder, config, first)
    if not model_type and first.name == "audio_signal":
        model_type = "EncDecCTCModel"
    family = FAMILIES.get(model_type)
    if family is None:
        raise ModelError(
            f"{folder}: the model_type is {model_type or 'not given'}; expected one of {', '.join(FAMILIES)}, in "
            "config.json or in the metadata of the ONNX file"
        )
    if not family.preset:
        return family, family.waveform
    if family is SENSE_VOICE:
        return _sense_voice(folder, metadata, language)
    bands = first.shape[1 if family.layout == "bands" else 2] if len(first.shape) == 3 else None
    n_mels = config.get("features_size") or (bands if isinstance(bands, int) else PRESETS[family.preset].n_mels)
    features = replace(PRESETS[family.preset], n_mels=int(n_mels))
    if family is NEMO and metadata.get("normalize_type", "per_feature") != "per_feature":
        features = replace(features, normalise=False)
    if metadata.get("is_giga_am", "0") not in ("", "0"):
        raise ModelError(f"{folder}: the features of GigaAM are not supported")
    return family, features


def _of_hugging_face(folder: Path, config: dict[str, Any], first: Any) -> tuple[Family, WaveformConfig]:
    """Return the same of what optimum exports: a graph that takes the waveform."""
    (name, *_) = config["architectures"] or [""]
    if not name.endswith("ForCTC") or len(first.shape) != 2:
        raise ModelError(
            f"{folder}: is {name or 'no model'} and its graph takes {first.name} {first.shape}; expected a …ForCTC "
            "model that takes the waveform"
        )
    processor = read_object(folder / "preprocessor_config.json")
    waveform = WaveformConfig(int(processor.get("sampling_rate", 16_000)), bool(processor.get("do_normalize", True)))
    return Family(f"a {name.removesuffix('ForCTC')} CTC model", waveform=waveform), waveform


def _sense_voice(folder: Path, metadata: dict[str, str], language: str) -> tuple[Family, FbankConfig]:
    """Return the family with what its graph is told of each utterance, and the features that its metadata describe.

    https://github.com/k2-fsa/sherpa-onnx/blob/master/scripts/sense-voice/export-onnx.py
    """
    languages = {key.removeprefix("lang_"): value for key, value in metadata.items() if key.startswith("lang_")}
    if (language or "auto") not in languages:
        raise ModelError(
            f"{folder}: the graph's metadata have no language {language or 'auto'!r}; expected one of "
            f"{', '.join(sorted(languages)) or 'lang_auto, lang_en, …, as sherpa-onnx writes them'}"
        )
    shift, factor = (tuple(float(value) for value in metadata[name].split(",")) for name in ("neg_mean", "inv_stddev"))
    size = int(metadata["lfr_window_size"])
    if not shift or len(shift) != len(factor) or len(shift) % size:
        raise ModelError(
            f"{folder}: the graph's metadata have {len(shift)} values of neg_mean, {len(factor)} of inv_stddev and an "
            f"lfr_window_size of {size}; expected as many of both, a multiple of it: download the model again"
        )
    features = replace(
        PRESETS["sense-voice"],
        n_mels=len(shift) // size,
        # 0: the network takes 16-bit numbers.
        scale=1.0 if int(metadata["normalize_samples"]) else 32768.0,
        stack=size,
        stack_hop=int(metadata["lfr_window_shift"]),
        shift=shift,
        factor=factor,
    )
    # "text_norm" as if asked for punctuation, and for numbers as digits.
    constants = {"language": int(languages[language or "auto"]), "text_norm": int(metadata["with_itn"])}
    return replace(SENSE_VOICE, constants=constants, blank=int(metadata.get("blank_id", 0))), features


def _tokens(folder: Path, config: dict[str, Any], columns: int, language: str) -> tuple[list[str], int | None]:
    """Return the tokens, and the blank where the configuration states it."""
    if "architectures" in config and (folder / "vocab.json").is_file():
        tokens = fit_tokens(read_vocab_json(folder, language), columns, folder / "vocab.json")
        return tokens, check_blank(config.get("pad_token_id"), columns, folder)
    for name in VOCABULARIES:
        if (folder / name).is_file():
            tokens = fit_tokens(read_tokens(folder / name), columns, folder / name)
            # Omnilingual ASR's blank is the token that begins a sentence elsewhere.
            return tokens, 0 if tokens[0] == "<s>" else None
    raise ModelError(
        f"{folder}: has no {' or '.join(VOCABULARIES)}; expected the tokens, one per line with its number: of a model "
        "of NeMo, those of model.decoder.vocabulary"
    )
