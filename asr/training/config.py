"""How a model is trained; free of torch, so that recipes can be read without it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asr.errors import UsageError
from asr.settings import check_types

Optimizer = Literal["adamw", "sgd", "rmsprop"]
Decay = Literal["cosine", "linear", "constant"]
Precision = Literal["float32", "bfloat16", "auto"]
Measure = Literal["wer", "cer", "loss"]
Place = Literal["auto", "cpu", "device"]
# Settings of a run that do not change what is learned.
FREE_SETTINGS = (
    "device",
    "checkpoint_minutes",
    "keep_checkpoints",
    "max_skipped",
    "ranks",
    "tensorboard",
    "waveforms_on",
)


@dataclass(frozen=True)
class WaveformAugmentConfig:
    """Random changes to waveforms before their features are computed; only for audio stores.

    Parameters
    ----------
    speeds : tuple of float
        Each utterance is played at one of these speeds, all equally likely: 0.9, 1.0 and 1.1 in Ko et al. 2015,
        "Audio augmentation for speech recognition".
    impulse_responses : str
        Folder of an audio store of room impulse responses; empty: no reverberation.
    reverberation_probability : float
        How often an utterance is convolved with one of these (Ko et al. 2017, "A study on data augmentation of
        reverberant speech for robust speech recognition").
    noises : str
        Folder of an audio store of noises; empty: no noise.
    noise_probability : float
        How often a piece of one of these is added to an utterance, including its pauses and reverberation.
    min_snr_db, max_snr_db : float
        The ratio of speech to noise is drawn between these.
    gain_db : float
        Levels are raised or lowered by up to this; samples beyond full scale are clipped, as by a recorder.
    """

    speeds: tuple[float, ...] = (1.0,)
    impulse_responses: str = ""
    reverberation_probability: float = 0.5
    noises: str = ""
    noise_probability: float = 0.5
    min_snr_db: float = 5.0
    max_snr_db: float = 20.0
    gain_db: float = 0.0

    @property
    def materials(self) -> tuple[Path, ...]:
        """Folders of the stores that utterances are mixed with."""
        return tuple(Path(folder) for folder in (self.noises, self.impulse_responses) if folder)

    def __post_init__(self) -> None:
        section = "training.augment.waveform"
        check_types(self, section)
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise UsageError(f"{section}.speeds is {self.speeds}; expected one or more between 0.5 and 2")
        for name in ("reverberation_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{section}.{name} is {getattr(self, name)}; expected 0 ≤ {name} ≤ 1")
        if not 0 <= self.gain_db <= 60:
            raise UsageError(f"{section}.gain_db is {self.gain_db}; expected 0 ≤ gain_db ≤ 60")
        if self.min_snr_db > self.max_snr_db:
            raise UsageError(
                f"{section}: got min_snr_db {self.min_snr_db:g} and max_snr_db {self.max_snr_db:g}; expected "
                "min_snr_db ≤ max_snr_db"
            )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training utterances, drawn anew for each of them in every epoch.

    Parameters
    ----------
    time_stretch, frequency_stretch : float
        Time and mel axes are stretched by factors drawn from 1 ± this, by interpolating the features; similar to
        speed perturbation (Ko et al. 2015) and vocal tract length perturbation (Jaitly & Hinton 2013).
    frequency_masks, frequency_mask_bands : int
        SpecAugment (Park et al. 2019): number of masks, and the most bands that one mask covers.
    time_masks_per_second, time_mask_seconds : float
        Mean number of time masks per second of audio, so that it adapts to the length (Park et al. 2020,
        "SpecAugment on large scale datasets"), and the longest mask in seconds.
    time_mask_share : float
        The largest part of an utterance that its time masks may cover together.
    pause_probability, pause_seconds : float
        How often a pause is added before and after an utterance (drawn separately), and the longest pause. It is made
        of the utterance's quietest frames; for waveforms, of noise with the spectrum of its quietest stretch.
    noise_probability : float
        How often an utterance gets a floor of noise, the effect of additive noise on log-mel energies.
    noise_range : float
        Its level is drawn between the utterance's faintest frames and this fraction of the way up to its loudest.
    noise_utterances : float
        Mean number of utterances of noise with an empty transcript per real one, so that the model learns to
        output nothing where nothing is said.
    waveform : WaveformAugmentConfig
    """

    time_stretch: float = 0.1
    frequency_stretch: float = 0.1
    frequency_masks: int = 2
    frequency_mask_bands: int = 15
    time_masks_per_second: float = 0.5
    time_mask_seconds: float = 0.15
    time_mask_share: float = 1.0
    pause_probability: float = 0.0
    pause_seconds: float = 1.0
    noise_probability: float = 0.0
    noise_range: float = 0.5
    noise_utterances: float = 0.02
    waveform: WaveformAugmentConfig = field(default_factory=WaveformAugmentConfig)

    def __post_init__(self) -> None:
        check_types(self, "training.augment")
        for name in ("time_stretch", "frequency_stretch"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"training.augment.{name} is {getattr(self, name)}; expected 0 ≤ {name} < 1")
        for name in ("time_mask_share", "pause_probability", "noise_probability", "noise_range"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"training.augment.{name} is {getattr(self, name)}; expected 0 ≤ {name} ≤ 1")
        masks = ("frequency_masks", "frequency_mask_bands", "time_masks_per_second", "time_mask_seconds")
        for name in (*masks, "pause_seconds", "noise_utterances"):
            if getattr(self, name) < 0:
                raise UsageError(f"training.augment.{name} is {getattr(self, name)}; expected 0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser, schedule and batches.

    Parameters
    ----------
    epochs : int
        Passes over the training store.
    optimizer : {"adamw", "sgd", "rmsprop"}
        SGD has Nesterov momentum.
    learning_rate : float
        The largest learning rate, reached at the end of the warm-up.
    warmup : float
        Fraction of all steps in which the learning rate rises linearly from zero.
    decay : {"cosine", "linear", "constant"}
        How it then falls, to 1 % of the largest at the last step.
    momentum, weight_decay : float
        `momentum` is for "sgd" and "rmsprop". Biases and layer norms are not decayed.
    max_gradient_norm : float
        Gradients of the mean loss of an utterance are scaled down to this norm (Pascanu et al. 2013).
    max_disagreement : float or None
        Utterances whose machine transcripts disagree by more than this are left out: see
        `asr.preparation.corpus.RawUtterance`. None: none are left out.
    batch_seconds : float
        Audio of a batch in seconds, padding included.
    accumulate : int
        Batches whose gradients are summed for one step; the step is shared by all ranks.
    precision : {"float32", "bfloat16", "auto"}
        Of the network's matrix products; the loss is always in float32. bfloat16 is faster on GPUs since Ampere and on
        CPUs with AVX512-BF16 or AMX; "auto" uses it there, and float32 elsewhere.
    compile_front_end : bool
        Whether the convolutions go through ``torch.compile``.
    intermediate_ctc : float
        Weight of a CTC loss on the middle recurrent layer (Lee & Watanabe 2021); the last layer's has the rest.
    consistency : float
        Weight of the divergence between two views of each utterance, which differ in masks and dropout (CR-CTC: Yao et
        al. 2024, arXiv 2410.05101, where it is 0.2); 0: one view. Batches are then twice as large, and take twice as
        long.
    consistency_warmup : float
        Fraction of all steps in which that weight rises linearly from zero.
    ema_decay : float
        Weights are averaged over steps with this decay (Polyak & Juditsky 1992), and the averages are evaluated
        and kept; 0 for no averages.
    freeze : tuple of str
        Layers that keep their first weights, by their names in the log, such as "front_end" and
        "layers.0": for fine-tuning on little data. See `asr.model_config.ModelConfig.layer_names`.
    average_best : int
        The final model is the mean of the weights of this many best epochs; 0 or 1: only the best.
    choose_by : {"wer", "cer", "loss"}
        The dev result by which the best epochs are chosen: the rate of word errors or of character errors, both
        greedy, or the loss; ties are broken by the loss.
    patience : int
        Training ends after this many epochs without improvement; 0: never before the last epoch.
    max_skipped : int
        Training stops with an error after this many steps in a row whose loss or gradient is not finite.
    seed : int
        Of the initial weights, the order of batches, dropout and augmentation.
    device : str
        "cpu", "cuda", "cuda:1", … or "auto": CUDA if available.
    waveforms_on : {"auto", "cpu", "device"}
        Where the waveforms of an audio store are altered and turned into features: on the CPU, or on the model's
        device; "auto": on the device if it is a GPU.
    ranks : int
        Processes that train together; 0: one per core or GPU, as far as the batches and the data suffice for that.
    checkpoint_minutes : float
        Time between two checkpoints within an epoch; each epoch ends with one.
    keep_checkpoints : int
        Checkpoints kept: if the last is damaged, the one before is used.
    tensorboard : bool
        Whether to write events for TensorBoard too, if it is installed.
    augment : AugmentConfig
    """

    epochs: int = 60
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: Decay = "cosine"
    momentum: float = 0.9
    weight_decay: float = 1e-2
    max_gradient_norm: float = 100.0
    max_disagreement: float | None = None
    batch_seconds: float = 60.0
    accumulate: int = 1
    precision: Precision = "float32"
    compile_front_end: bool = False
    intermediate_ctc: float = 0.0
    consistency: float = 0.0
    consistency_warmup: float = 0.1
    ema_decay: float = 0.0
    freeze: tuple[str, ...] = ()
    average_best: int = 0
    choose_by: Measure = "wer"
    patience: int = 0
    max_skipped: int = 10
    seed: int = 1
    device: str = "auto"
    waveforms_on: Place = "auto"
    ranks: int = 0
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    tensorboard: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def views(self) -> int:
        """How many times a batch holds each utterance: see `consistency`."""
        return 2 if self.consistency else 1

    def __post_init__(self) -> None:
        check_types(self, "training")
        for name in ("epochs", "learning_rate", "max_gradient_norm", "batch_seconds", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected a positive number")
        for name in ("accumulate", "max_skipped", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("average_best", "patience", "ranks"):
            if getattr(self, name) < 0:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("warmup", "momentum", "intermediate_ctc", "consistency_warmup", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected 0 ≤ {name} < 1")
        if self.max_disagreement is not None and self.max_disagreement < 0:
            raise UsageError(f"training.max_disagreement is {self.max_disagreement}; expected 0 or more, or None")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"training.seed is {self.seed}; expected 0 ≤ seed < 2³²")
        if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+", self.device):
            raise UsageError(f"training.device is {self.device!r}; expected auto, cpu, cuda or cuda:N")
        for name in ("weight_decay", "consistency"):
            if getattr(self, name) < 0:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected 0 or more")
