"""What is minimised equals what is worked out by hand, utterance by utterance."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from torch.nn.functional import ctc_loss  # noqa: E402

from asr.model import AcousticModel  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.distributed import Ranks  # noqa: E402
from asr.training.losses import _row_multiple, consistency_loss  # noqa: E402
from asr.training.optimizer import consistency_weight  # noqa: E402
from asr.training.steps import Schedule, Stepper  # noqa: E402
from tests.training.small_run import CONFIG, MODEL, TOKENIZER, TRAIN, make_trainer  # noqa: E402

PLAIN = replace(MODEL, dropout=0.0)


def test_the_divergence_of_two_views_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    lengths = [5, 3, 1]
    posteriors = rng.dirichlet(np.ones(4), (6, 5))
    expected = 0.0
    for row, length in enumerate(lengths):
        for t in range(length):
            p, q = posteriors[row, t], posteriors[3 + row, t]
            expected += sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(p, q, strict=True)) / 2
    log_probs = torch.tensor(np.log(posteriors), requires_grad=True)
    loss = consistency_loss(log_probs, torch.tensor(lengths * 2))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    # The other view's posteriors are held still: d/d log q of −Σ p log q is −p, of half of it half.
    for row, length in enumerate(lengths):
        for view, other in ((row, 3 + row), (3 + row, row)):
            wanted = np.zeros((5, 4))
            wanted[:length] = -0.5 * posteriors[other, :length]
            np.testing.assert_allclose(log_probs.grad[view], wanted, atol=1e-12)


def test_the_loss_of_two_views_is_the_mean_of_theirs_and_their_divergence():
    letters, pairs = TOKENIZER, CharTokenizer.from_texts(["ba "])
    torch.manual_seed(0)
    model = AcousticModel(PLAIN, 12, len(letters)).double()
    model.add_intermediate_output(len(pairs))
    model.double()
    config = replace(CONFIG, consistency=0.2, intermediate_ctc=0.3)
    source = BatchSource(TRAIN, letters, PLAIN, 150, AugmentConfig(time_masks_per_second=20), middle=pairs)
    stepper = Stepper(model, config, Ranks())
    for planned in source.plan(1, 0):
        batch = source.batch(planned, 1, 0, config.views)
        batch = replace(batch, features=batch.features.double())
        B = len(planned)
        assert batch.features.shape[0] == 2 * B
        loss, counts = stepper.loss(batch, Schedule(0.0, (0,), consistency=0.15))
        expected, last = 0.0, 0.0
        for row in range(B):
            views = []
            for view in (row, B + row):
                x = batch.features[view : view + 1, : batch.feature_lengths[view]]
                outputs = model.forward_intermediate(x, batch.feature_lengths[view : view + 1])
                text = TRAIN.texts[planned.indices[row]] if planned.indices[row] < len(TRAIN) else ""
                for log_probs, tokens, weight in zip(outputs[:2], (letters, pairs), (0.7, 0.3), strict=True):
                    ids = torch.tensor([tokens.encode(text)], dtype=torch.long).reshape(1, -1)
                    length = torch.tensor([ids.shape[1]])
                    ctc = ctc_loss(log_probs.transpose(0, 1), ids, outputs[2], length, reduction="sum").item()
                    expected += weight * ctc / 2
                    last += ctc / 2 if tokens is letters else 0.0
                views.append(outputs[0])
            expected += 0.15 * consistency_loss(torch.cat(views), torch.cat([outputs[2], outputs[2]])).item()
        assert loss.item() == pytest.approx(expected, rel=1e-9)
        values = dict(zip(stepper.names, counts.tolist(), strict=False))
        assert values["loss"] == pytest.approx(last, rel=1e-9)
        assert values["utterances"] == B
        assert values["input_frames"] == planned.lengths.total.sum()


def test_rows_that_fill_a_batch_up_change_no_loss_and_no_gradient(monkeypatch):
    torch.manual_seed(0)
    model = AcousticModel(PLAIN, 12, len(TOKENIZER)).double()
    source = BatchSource(TRAIN, TOKENIZER, PLAIN, 150)
    stepper = Stepper(model, replace(CONFIG, intermediate_ctc=0.3), Ranks())
    batch = next(b for b in map(source.load, source.in_order()) if len(b.ids) % 8)
    batch = replace(batch, features=batch.features.double())
    results = []
    for multiple in (1, 8):
        monkeypatch.setattr("asr.training.losses._row_multiple", lambda *_, multiple=multiple, **__: multiple)
        counts = stepper._accumulate([batch], Schedule(0.0, (0,)))
        results.append((counts, stepper.gradient.flat.clone()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    monkeypatch.undo()
    assert _row_multiple(torch.device("cuda"), bfloat16=True) == 8
    assert _row_multiple(torch.device("cuda"), bfloat16=False) == _row_multiple(torch.device("cpu"), bfloat16=True) == 1


def test_views_share_everything_but_masks():
    augment = AugmentConfig(noise_probability=1.0, pause_probability=1.0, pause_seconds=0.1, noise_utterances=0.3)
    unmasked = replace(augment, frequency_masks=0, time_masks_per_second=0.0)
    source, still = (BatchSource(TRAIN, TOKENIZER, MODEL, 200, config) for config in (augment, unmasked))
    differing = 0
    for planned, same in zip(source.plan(2, 1), still.plan(2, 1), strict=True):
        masked, whole = source.batch(planned, 2, 1, 2).features.chunk(2), still.batch(same, 2, 1, 2).features.chunk(2)
        assert torch.equal(*whole)
        differing += not torch.equal(*masked)
    assert differing


def test_the_weight_of_the_divergence_rises_linearly():
    config = replace(CONFIG, consistency=0.2, consistency_warmup=0.5)
    weights = [consistency_weight(progress, config) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert weights == pytest.approx([0.0, 0.05, 0.1, 0.2, 0.2])
    assert consistency_weight(0.0, replace(config, consistency_warmup=0.0)) == 0.2


def test_the_output_for_other_tokens_is_trained_and_does_not_leave_training(tmp_path):
    trainer = make_trainer(tmp_path, replace(CONFIG, intermediate_ctc=0.3), middle=CharTokenizer.from_texts(["abc "]))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    assert len(before["intermediate.2.bias"]) == 5
    model = trainer.run()
    assert {"gradient_norm.intermediate", "update.intermediate"} < set(trainer.history[0])
    assert not any(name.startswith("intermediate") for name in model.state_dict())
