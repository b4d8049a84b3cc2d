"""The acoustic model: batch invariance, gradients, and the reservoir."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the acoustic model needs the [train] extra")

from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.model_layers import reorder, reversal  # noqa: E402

LENGTHS = [37, 5, 41, 1, 2, 29, 40, 17, 8]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("time_reduction", [2, 4, 8])
def test_an_utterance_alone_equals_itself_in_a_batch(cell, bidirectional, num_layers, time_reduction):
    torch.manual_seed(1)
    config = ModelConfig(cell, bidirectional, num_layers, hidden_size=8, conv_channels=3, time_reduction=time_reduction)
    model = AcousticModel(config, n_mels=10, vocab_size=5).eval()
    lengths = torch.tensor(LENGTHS)
    # Padding of large random values: whatever leaks shows.
    features = 10 * torch.randn(len(LENGTHS), max(LENGTHS), 10)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        model = model.to(dtype)
        padded = features.to(dtype)
        log_probs, output_lengths = model(padded, lengths)
        assert output_lengths.tolist() == [config.output_frames(length) for length in LENGTHS]
        for i, length in enumerate(LENGTHS):
            alone, _ = model(padded[i : i + 1, :length], lengths[i : i + 1])
            torch.testing.assert_close(
                log_probs[i, : output_lengths[i]],
                alone[0],
                rtol=0,
                atol=tolerance,
                msg=f"{length} frames, {dtype}",
            )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_gradients_are_finite_and_ignore_the_padding(cell, bidirectional, num_layers):
    torch.manual_seed(1)
    config = ModelConfig(cell, bidirectional, num_layers, hidden_size=8, conv_channels=3, dropout=0)
    model = AcousticModel(config, n_mels=10, vocab_size=5)
    features = torch.randn(2, 40, 10, requires_grad=True)
    log_probs, lengths = model(features, torch.tensor([40, 21]))
    targets = torch.tensor([[1, 2, 2], [3, 4, 0]])
    loss = torch.nn.functional.ctc_loss(log_probs.transpose(0, 1), targets, lengths, torch.tensor([3, 2]))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert features.grad[1, :21].abs().sum() > 0
    assert features.grad[1, 21:].abs().sum() == 0


def test_the_gradient_of_a_reversal_is_that_of_its_definition():
    torch.manual_seed(2)
    lengths = torch.tensor([7, 1, 4])
    x = torch.randn(3, 7, 2, dtype=torch.float64, requires_grad=True)
    time = reversal(lengths, 7)
    expected = torch.stack([torch.cat((row[:n].flip(0), row[n:])) for row, n in zip(x, lengths, strict=True)])
    got = reorder(x, time)
    assert torch.equal(got, expected)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((values * weights).sum(), x)[0] for values in (got, expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_a_reservoir_keeps_its_recurrent_weights_at_their_spectral_radius(cell):
    config = ModelConfig(cell, num_layers=2, hidden_size=12, reservoir=True, spectral_radius=0.7)
    model = AcousticModel(config, n_mels=10, vocab_size=5)
    recurrent = {name: value for name, value in model.named_parameters() if "weight_hh" in name}
    assert recurrent
    for value in recurrent.values():
        assert not value.requires_grad
        for block in value.split(12):
            assert torch.linalg.eigvals(block).abs().max().item() == pytest.approx(0.7, abs=1e-4)
    assert all(value.requires_grad for name, value in model.named_parameters() if name not in recurrent)


@pytest.mark.parametrize("time_reduction", [2, 4, 8])
def test_input_frames_are_the_fewest_for_their_output_frames(time_reduction):
    config = ModelConfig(time_reduction=time_reduction)
    wanted = np.arange(1, 50)
    fewest = config.input_frames(wanted)
    assert (config.output_frames(fewest) == wanted).all()
    assert (config.output_frames(fewest - 1) == wanted - 1).all()
