"""A model that streams gives, chunk by chunk, what it gives on the whole."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

torch = pytest.importorskip("torch", reason="needs torch")

from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402

F, V = 11, 7


def make_model(**options: Any) -> AcousticModel:
    torch.manual_seed(3)
    config = ModelConfig(num_layers=2, hidden_size=5, conv_channels=3, normalisation="global", **options)
    model = AcousticModel(config, F, V).eval().double()
    model.set_statistics(torch.randn(F), torch.rand(F) + 0.5)
    if model.lookahead is not None:
        torch.nn.init.normal_(model.lookahead.weight)
    return model


def streamed(model: AcousticModel, features: torch.Tensor, cuts: list[int], context: int = 0) -> torch.Tensor:
    """Log-probs ``(T', V)`` of one stream, cut before the given output frames."""
    reduction, T = model.config.time_reduction, len(features)
    whole = model.config.output_frames(T)
    delay = model.config.lookahead_frames
    state = torch.zeros(1, sum(model.config.state_sizes(F)), dtype=torch.float64)
    rows = []
    for start, end in zip([0, *cuts], [*cuts, whole + delay], strict=True):
        stop = min(end + context, max(end, whole))
        chunk = torch.zeros(1, (stop - start) * reduction, F, dtype=torch.float64)
        there = features[start * reduction : stop * reduction]
        chunk[0, : len(there)] = there
        log_probs, state = model.stream(chunk, torch.tensor([len(there)]), state, stop - end)
        rows.append(log_probs[0])
    return torch.cat(rows)[delay:]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize(("lookahead", "reduction"), [(0, 4), (3, 4), (3, 8)])
def test_chunks_of_any_size_are_the_whole(cell, lookahead, reduction):
    model = make_model(cell=cell, bidirectional=False, lookahead_frames=lookahead, time_reduction=reduction)
    seed = 5
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for T in (1, 4, 61, 64):
        features = torch.from_numpy(rng.standard_normal((T, F)))
        with torch.no_grad():
            whole = model(features[None], torch.tensor([T]))[0][0]
            last = len(whole) + lookahead
            for _ in range(5):
                cuts = sorted(
                    rng.choice(np.arange(1, last), min(last - 1, int(rng.integers(0, 6))), replace=False).tolist()
                )
                torch.testing.assert_close(streamed(model, features, cuts), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cell", "reduction"), [("lstm", 4), ("gru", 4), ("lstm", 8)])
def test_two_directions_with_all_that_follows_as_context_are_the_whole(cell, reduction):
    model = make_model(cell=cell, bidirectional=True, time_reduction=reduction)
    T = 12 * reduction + 2
    features = torch.from_numpy(np.random.default_rng(1).standard_normal((T, F)))
    with torch.no_grad():
        whole = model(features[None], torch.tensor([T]))[0][0]
        torch.testing.assert_close(streamed(model, features, [3, 4, 9], context=T), whole, rtol=0, atol=1e-12)
        # The first chunk of a bounded context is that of an utterance which ends with the context.
        cut = model(features[None, : 7 * reduction], torch.tensor([7 * reduction]))[0][0]
        bounded = streamed(model, features, [5], context=2)
        torch.testing.assert_close(bounded[:5], cut[:5], rtol=0, atol=1e-12)


def test_streams_in_a_batch_are_those_alone():
    model = make_model(bidirectional=False, lookahead_frames=2)
    rng = np.random.default_rng(2)
    features = torch.from_numpy(rng.standard_normal((3, 16, F)))
    states = torch.from_numpy(rng.standard_normal((3, sum(model.config.state_sizes(F)))))
    lengths = torch.tensor([16, 9, 0])
    with torch.no_grad():
        together = model.stream(features, lengths, states)
        for row in range(3):
            alone = model.stream(features[row : row + 1], lengths[row : row + 1], states[row : row + 1])
            for got, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(got[row : row + 1], expected, rtol=0, atol=1e-12)


def test_models_that_cannot_stream_say_why():
    assert "whole utterance" in ModelConfig(normalisation="utterance").why_not_streaming
    assert "looks ahead" in ModelConfig(normalisation="global", time_reduction=2).why_not_streaming
    assert not ModelConfig(normalisation="global").why_not_streaming
