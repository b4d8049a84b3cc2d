"""Fine-tuning: a model takes over the weights of a bundle."""

import numpy as np
import torch

from asr.bundle.bundle import Bundle
from asr.model import AcousticModel
from asr.tokenizer import Tokenizer

# The layer with a row for each token.
OUTPUT = ("output.weight", "output.bias")


def start_from(origin: Bundle, model: AcousticModel, tokenizer: Tokenizer) -> int:
    """Give `model` the weights of `origin`, whose shape is the same but for the tokens.

    The output layer's rows for tokens that both have are taken over, the others stay as they are.

    Parameters
    ----------
    origin : Bundle
    model : AcousticModel
        With one output for each token of `tokenizer`.
    tokenizer : Tokenizer

    Returns
    -------
    int
        The number of tokens taken over, the blank among them.

    Raises
    ------
    ModelError
        If the bundle's weights cannot be read.
    """
    known = {token: row for row, token in enumerate(origin.tokenizer.tokens)}
    shared = [(row, known[token]) for row, token in enumerate(tokenizer.tokens) if token in known]
    new_rows, old_rows = (torch.tensor(rows) for rows in zip(*shared, strict=True))
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in origin.weights().items()}
    state = model.state_dict()
    for name in OUTPUT:
        rows = state[name].clone()
        rows[new_rows] = weights[name][old_rows].to(rows)
        weights[name] = rows
    model.load_state_dict(weights)
    return len(shared)
