"""The ``language_model`` folder of a Hugging Face model, as pyctcdecode writes it → a bundle's model and weights."""

import math
from pathlib import Path

from asr.bundle.bundle import LANGUAGE_MODEL
from asr.decoder import BeamOptions
from asr.decoder.ngram import copy_as_binary
from asr.decoder.pyctcdecode.language_model import LanguageModel

FOLDER = "language_model"


def put_language_model(source: Path, bundle: Path) -> dict[str, float]:
    """Write the n-gram model of a folder into a bundle, and return the decoding that ``attrs.json`` describes.

    Parameters
    ----------
    source : Path
        With ``attrs.json``, ``unigrams.txt``, and an ARPA file or KenLM's probing binary. The model's own list of words
        counts, not ``unigrams.txt``.
    bundle : Path
        The folder.

    Returns
    -------
    dict
        ``alpha``, ``beta`` and ``beam_size``; ``oov_score`` is in nats and not weighted by alpha, as
        ``unk_score_offset`` is in log10; ``sentence_end`` is False where ``score_boundary`` is.

    Raises
    ------
    DecodingError
        If a file is missing or cannot be read, or the attributes are other ones.
    """
    model = LanguageModel.load_from_dir(source)
    # A model of a folder has a file.
    assert model.path is not None
    copy_as_binary(model.model, model.path, bundle / LANGUAGE_MODEL)
    options = BeamOptions(
        alpha=model.alpha, beta=model.beta, oov_score=min(0.0, model.alpha * model.unk_score_offset * math.log(10))
    )
    decoding: dict[str, float] = {
        "alpha": options.alpha,
        "beta": options.beta,
        "beam_size": options.beam_size,
        "oov_score": options.oov_score,
        # It knows no such cost.
        "empty_score": 0.0,
    }
    return decoding if model.score_boundary else {**decoding, "sentence_end": False}
