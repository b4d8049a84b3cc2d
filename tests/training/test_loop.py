"""The training loop: steps, averages and schedule do what their settings say."""

import itertools
import re
import threading
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402
from torch._inductor.exc import InductorError  # noqa: E402

from asr.errors import DataError, UsageError  # noqa: E402
from asr.model import AcousticModel, exact_float32  # noqa: E402
from asr.recipe import LanguageModelConfig  # noqa: E402
from asr.training.batch_loader import prefetched  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig, TrainingConfig, WaveformAugmentConfig  # noqa: E402
from asr.training.distributed import Ranks  # noqa: E402
from asr.training.optimizer import choose_device, computes_in_bfloat16, freeze, layer_name, schedule  # noqa: E402
from asr.training.steps import FlatGradient, Outcomes, Schedule, Stepper  # noqa: E402
from tests.training.small_run import (  # noqa: E402
    CONFIG,
    MODEL,
    TOKENIZER,
    TRAIN,
    MemoryStore,
    make_trainer,
    read_log,
)


def test_the_gradient_is_of_the_mean_loss_of_an_utterance_over_all_accumulated_batches():
    # The second way: one backward pass for each utterance alone.
    config = replace(CONFIG, intermediate_ctc=0.25, max_gradient_norm=1e9)
    torch.manual_seed(0)
    model = AcousticModel(replace(MODEL, dropout=0.0), 12, len(TOKENIZER)).double()
    source = BatchSource(TRAIN, TOKENIZER, MODEL, 120)
    batches = [source.load(planned) for planned in source.in_order()[:3]]
    batches = [replace(batch, features=batch.features.double()) for batch in batches]
    stepper = Stepper(model, config, Ranks())
    expected = torch.zeros_like(stepper.gradient.flat)
    for batch in batches:
        for row in range(len(batch.ids)):
            T, S = int(batch.feature_lengths[row]), int(batch.target_lengths[row])
            last, middle, lengths = model.forward_intermediate(batch.features[row : row + 1, :T], torch.tensor([T]))
            losses = [
                torch.nn.functional.ctc_loss(
                    log_probs.transpose(0, 1), batch.targets[row : row + 1, :S], lengths, torch.tensor([S])
                )
                * S
                for log_probs in (last, middle)
            ]
            loss = 0.75 * losses[0] + 0.25 * losses[1]
            gradients = torch.autograd.grad(loss, stepper.gradient.parameters)
            expected += torch.cat([gradient.reshape(-1) for gradient in gradients])
    expected /= sum(len(batch.ids) for batch in batches)
    stepper(batches, Schedule(learning_rate=0.0, seed=(0,)))
    torch.testing.assert_close(stepper.gradient.flat, expected, rtol=1e-9, atol=1e-12)


def test_averages_of_weights_are_those_that_are_kept(tmp_path):
    # Written out by hand: the average of the weights after each step, decay min(0.9, (1 + n) / (10 + n)).
    trainer = make_trainer(tmp_path, replace(CONFIG, epochs=1, ema_decay=0.9))
    average = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    original, steps = trainer.average.update, 0

    def update():
        nonlocal steps
        decay = min(0.9, (1 + steps) / (10 + steps))
        for name, value in trainer.model.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * value
        steps += 1
        original()

    trainer.average.update = update
    final = trainer.run()
    assert steps > 2
    for name, value in final.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-7)


def test_the_final_model_is_the_mean_of_the_best_epochs(tmp_path):
    trainer = make_trainer(tmp_path, replace(CONFIG, average_best=2, learning_rate=0.02))
    final = trainer.run().state_dict()
    paths = sorted((tmp_path / "best").iterdir())
    assert len(paths) == 2
    weights = [load_file(path) for path in paths]
    for name, value in final.items():
        torch.testing.assert_close(value, (weights[0][name] + weights[1][name]) / 2)
    assert not torch.equal(weights[0]["output.weight"], weights[1]["output.weight"])


@pytest.mark.parametrize("changes", [{}, {"lookahead_frames": 2, "bidirectional": False, "time_reduction": 8}])
def test_frozen_layers_keep_their_weights(changes):
    config = replace(MODEL, **changes)
    assert list(FlatGradient(AcousticModel(config, 12, 3)).layers) == list(config.layer_names)
    source = BatchSource(TRAIN, TOKENIZER, config, 400)
    batch = source.load(source.in_order()[0])
    for frozen in (("front_end", "layers.0"), ("output",)):
        torch.manual_seed(0)
        model = AcousticModel(config, 12, len(TOKENIZER))
        before = {name: value.clone() for name, value in model.named_parameters()}
        freeze(model, frozen)
        Stepper(model, CONFIG, Ranks())([batch], Schedule(0.1, (0,)))
        changed = {layer_name(name) for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert changed == set(config.layer_names) - set(frozen)
    with pytest.raises(UsageError, match=r"'layer.0'; expected .*did you mean 'layers.0'"):
        freeze(model, ["layer.0"])
    with pytest.raises(UsageError, match="names all layers"):
        freeze(model, config.layer_names)


def test_of_several_dev_sets_the_mean_decides(tmp_path):
    alone = [make_trainer(tmp_path / name, dev=MemoryStore(*size)) for name, size in (("a", (4, 2)), ("b", (9, 7)))]
    both = make_trainer(tmp_path / "both", dev=MemoryStore(4, 2), calls=MemoryStore(9, 7))
    for trainer in (*alone, both):
        trainer.run()
    for first, second, row in zip(alone[0].history, alone[1].history, both.history, strict=True):
        for name in ("dev_loss", "dev_wer", "dev_cer"):
            assert row[f"{name}.dev"] == pytest.approx(first[name])
            assert row[f"{name}.calls"] == pytest.approx(second[name])
            assert row[name] == pytest.approx((first[name] + second[name]) / 2)
    best = min(range(3), key=lambda epoch: (both.history[epoch]["dev_wer"], both.history[epoch]["dev_loss"]))
    assert both.position.best[0].epoch == best
    assert len(both.samples) == 6
    assert "dev_wer.calls" in read_log(tmp_path / "both")[0]
    assert both.settings["data"]["dev"] not in {trainer.settings["data"]["dev"] for trainer in alone}


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    # So small a learning rate changes no word: the first epoch stays the best by WER, its loss must not fall either.
    trainer = make_trainer(tmp_path, replace(CONFIG, epochs=9, patience=2, learning_rate=1e-30))
    trainer.run()
    assert trainer.position.epoch == 3


def test_the_learning_rate_rises_then_falls():
    for decay, end in (("cosine", 0.01), ("linear", 0.01), ("constant", 1.0)):
        config = replace(CONFIG, warmup=0.2, decay=decay)
        rates = [schedule(progress, config) for progress in np.linspace(0, 1, 21)]
        assert np.argmax(rates) == 4
        assert rates[4] == pytest.approx(1)
        assert rates[-1] == pytest.approx(end)


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected auto, cpu"):
        make_trainer(tmp_path, replace(CONFIG, device="gpu"))


def test_sets_with_different_features_are_refused(tmp_path):
    other = MemoryStore(14, 1)
    other.config = replace(other.config, hop_seconds=0.02)
    with pytest.raises(DataError, match=r"hop_seconds: 0\.01 \(expected 0\.02\)"):
        make_trainer(tmp_path, train=other)


def test_a_gpu_is_asked_late_how_its_steps_went_and_no_answer_is_lost():
    outcomes = Outcomes(torch.device("cpu"), lag=2)
    answers, asked = [], []
    for step in range(5):
        outcomes.add(torch.tensor(float(step == 1)), step)
        answers += outcomes.known()
        asked.append(len(answers))
    answers += outcomes.known(all_of_them=True)
    assert asked == [0, 0, 1, 2, 3]
    assert answers == [(step == 1, step) for step in range(5)]


def test_prefetching_keeps_the_order_and_raises_where_the_result_would_come():
    def make(number):
        if number == 5:
            raise DataError("five")
        return number * number

    with prefetched(make, range(9), ahead=2) as made:
        assert [next(made) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(DataError, match="five"):
            next(made)
    before = threading.active_count()
    # Left in the middle: the thread ends.
    with prefetched(make, itertools.repeat(2), ahead=2) as made:
        next(made)
    assert threading.active_count() == before


def test_the_front_end_is_compiled_where_it_is_asked_for(tmp_path, monkeypatch):
    compiled = []

    def compile_module(self, **options):
        compiled.append((self, options))

        def fail(*_arguments):
            raise InductorError(RuntimeError("no compiler"), None)

        self._compiled_call_impl = fail

    monkeypatch.setattr(torch.nn.Module, "compile", compile_module)
    trainer = make_trainer(tmp_path, replace(CONFIG, compile_front_end=True))
    assert compiled == [(trainer.model.front_end, {"dynamic": True})]
    with pytest.raises(UsageError, match=r"training\.compile_front_end: torch\.compile failed .*no compiler"):
        trainer.run()


def test_events_and_a_page_of_curves_are_written(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    monkeypatch.undo()
    make_trainer(tmp_path, replace(CONFIG, tensorboard=True)).run()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [float(row["dev_loss"]) for row in read_log(tmp_path)]
    assert [event.value for event in events.Scalars("dev_loss")] == pytest.approx(logged, rel=1e-5)
    page = (tmp_path / "training.html").read_text(encoding="utf-8")
    assert "training.learning_rate<td>0.001" in page
    assert page.count("<svg") == 1
    # Nothing is loaded from anywhere.
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!#)\w+:""", page.replace('xlink:href="#', ""))
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_tf32_is_off_for_a_while_and_what_was_set_comes_back():
    backends, legacy = torch.backends, torch.get_float32_matmul_precision
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    for make, undo in (
        (lambda: None, lambda: None),
        (lambda: setattr(backends, "fp32_precision", "tf32"), lambda: setattr(backends, "fp32_precision", "none")),
        (lambda: torch.set_float32_matmul_precision("high"), lambda: torch.set_float32_matmul_precision("highest")),
    ):
        make()
        try:
            before = [operation.fp32_precision for operation in operations]
            with exact_float32():
                assert [operation.fp32_precision for operation in operations] == ["ieee"] * 3
            assert [operation.fp32_precision for operation in operations] == before
        finally:
            undo()
    assert legacy() == "highest"


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "error: CUBLAS_STATUS_ALLOC_FAILED"]
)
def test_a_lack_of_memory_is_told_whoever_lacks_it(text):
    stepper = Stepper(AcousticModel(MODEL, 12, 3), CONFIG, Ranks())
    kinds = [RuntimeError, *([torch.AcceleratorError] if hasattr(torch, "AcceleratorError") else [])]
    for kind in kinds:
        with (
            pytest.raises(UsageError, match=r"step 3 does not fit .*batch_seconds"),
            stepper.memory_explained("step 3"),
        ):
            raise kind(text)
        with pytest.raises(kind, match="illegal"), stepper.memory_explained("step 3"):
            raise kind("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_precision_asks_the_processor(monkeypatch, capability):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, capability: True}, raising=False)
    assert computes_in_bfloat16("auto", cpu)
    assert computes_in_bfloat16("bfloat16", cpu)
    assert not computes_in_bfloat16("float32", cpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, capability: False}, raising=False)
    assert not computes_in_bfloat16("auto", cpu)
    with pytest.raises(UsageError, match="AVX512-BF16"):
        computes_in_bfloat16("bfloat16", cpu)


def test_each_rank_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", rank)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="a device for each rank"):
        choose_device("cuda:1")
    # Told to every rank, not only to the one that finds no device.
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="at most 2"):
        choose_device("auto")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    with pytest.raises(UsageError, match="expected 0 to 1"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingConfig(weight_decay=float("nan")), "training.weight_decay is nan; expected a finite number"),
        (lambda: TrainingConfig(learning_rate=float("inf")), "expected a finite number"),
        (lambda: TrainingConfig(epochs=2.5), "training.epochs is 2.5; expected int"),
        (lambda: TrainingConfig(device="mps"), "expected auto, cpu, cuda or cuda:N"),
        (lambda: TrainingConfig(precision="half"), "expected one of 'float32'"),
        (lambda: AugmentConfig(pause_seconds=float("nan")), "training.augment.pause_seconds is nan"),
        (lambda: WaveformAugmentConfig(min_snr_db=30), "min_snr_db ≤ max_snr_db"),
        (lambda: WaveformAugmentConfig(gain_db="loud"), "training.augment.waveform.gain_db is 'loud'; expected float"),
        (lambda: LanguageModelConfig(beam_size=10.5), "lm.beam_size is 10.5; expected int"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(make, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        make()
