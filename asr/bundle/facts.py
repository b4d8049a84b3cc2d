"""Facts about a model, for people and for programs that choose among models."""

import math
from typing import Any

from asr.bundle.bundle import WEIGHTS, Bundle
from asr.errors import ModelError
from asr.settings import to_dict


def model_facts(bundle: Bundle) -> dict[str, Any]:
    """Describe a bundle as an object for JSON; sizes in bytes, rates in per cent.

    Raises
    ------
    ModelError
        If the weights are damaged.
    """
    own_lm = bundle.language_model
    return {
        "name": bundle.name,
        "description": bundle.description,
        "directory": str(bundle.directory),
        "dataset": bundle.dataset,
        "language": bundle.language,
        "licence": bundle.licence,
        "origin": bundle.origin,
        "features": to_dict(bundle.features),
        "network": to_dict(bundle.model) if bundle.model else None,
        "parameters": num_parameters(bundle),
        "frame_seconds": bundle.frame_seconds,
        "text_profile": bundle.text_profile or None,
        "max_seconds": bundle.graph.max_seconds or None,
        "tokens": {
            "kind": bundle.tokenizer.kind,
            "count": len(bundle.tokenizer),
            "alphabet": "".join(sorted(bundle.tokenizer.alphabet)),
        },
        "precisions": list(bundle.precisions),
        "language_model": {"file": own_lm.name, "decoding": bundle.decoding} if own_lm else None,
        "files": {path.name: path.stat().st_size for path in bundle.files},
        "results": bundle.results,
    }


def num_parameters(bundle: Bundle) -> int:
    """Return how many numbers the weights are, 0 where there are none for torch; only the file's header is read.

    Raises
    ------
    ModelError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if bundle.model is None:
        return 0
    path = bundle.directory / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if not name.startswith("normalisation.")]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
