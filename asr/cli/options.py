"""The options that commands share, so that a name means the same everywhere, and what they build."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from asr.errors import UsageError

if TYPE_CHECKING:
    from asr.live import LiveModel
    from asr.transcription.decoding import DecodingOptions

Number = TypeVar("Number", int, float)

MODEL_HELP = "The folder of a model, the name of one that ships, or org/name[@revision] on the Hugging Face Hub."
OUT = ("--output-dir", "-o", "--out")

Model = Annotated[str, typer.Option(help=MODEL_HELP)]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
Device = Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (PyTorch).')]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: one per core.")]
Jobs = Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")]
Cluster = Annotated[
    str,
    typer.Option(metavar="tcp://HOST:PORT", help="A dask scheduler whose workers do the work.", show_default=False),
]
Precision = Annotated[Literal["float32", "int8"], typer.Option(help="int8 is faster on the CPU; LSTMs only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

BeamSize = Annotated[
    int | None,
    typer.Option(
        help="1: greedy. More: beam search, with the model's own n-grams.",
        show_default="1; models of phones: their own",
    ),
]
Lm = Annotated[
    str, typer.Option(help="The n-gram model of the beam search: a file (ARPA, .bin, .npz, KenLM's), own or none.")
]
Alpha = Annotated[float | None, typer.Option(help="Weight of the n-gram model.")]
Beta = Annotated[float | None, typer.Option(help="Bonus for each word, in nats.")]
Oov = Annotated[
    Literal["allow", "penalise", "forbid"] | None, typer.Option(help="Words that the n-gram model does not know.")
]
LmLevel = Annotated[
    Literal["word", "token"] | None,
    typer.Option(help="Units of the n-gram model; by default tokens if all its words are.", show_default=False),
]
Hotword = Annotated[list[str] | None, typer.Option(help="An expected phrase, or PHRASE=WEIGHT; repeatable.")]
Unlisted = Annotated[
    Literal["forbid", "spell"] | None,
    typer.Option(help="Words that the lexicon lacks: never output, or spelled as <S-IH-NG>.", show_default=False),
]
Lexicon = Annotated[str, typer.Option(help="File of the only words allowed, each line WORD or WORD SPELLING.")]

Streaming = Annotated[bool, typer.Option("--streaming", help="Recognise as asr listen does, and report the latency.")]
Chunk = Annotated[
    float | None,
    typer.Option(
        help="Seconds of audio that go through the network at once.", show_default="0.16; bidirectional models 0.32"
    ),
]
Context = Annotated[float, typer.Option(help="Seconds of audio after a chunk that a bidirectional model also sees.")]
Pause = Annotated[float, typer.Option(min=0, help="An utterance ends after so many seconds without words.")]
Longest = Annotated[float, typer.Option(min=0, help="An utterance ends after so many seconds without a pause.")]
CONTEXT_SECONDS, PAUSE_SECONDS, LONGEST_SECONDS = 0.6, 1.2, 20.0


@dataclass(frozen=True)
class Decoding:
    """The options of decoding."""

    beam_size: BeamSize = None
    lm: Lm = "own"
    alpha: Alpha = None
    beta: Beta = None
    oov: Oov = None
    lm_level: LmLevel = None
    hotword: Hotword = None
    lexicon: Lexicon = ""
    unlisted: Unlisted = None

    def options(self, nbest: int = 1) -> "DecodingOptions":
        """Return the decoding that the options describe.

        Raises
        ------
        UsageError
            If they contradict each other, or one is out of its range.
        """
        from asr.transcription.decoding import DecodingOptions

        return DecodingOptions(
            self.beam_size,
            None if self.lm == "none" else self.lm,
            self.alpha,
            self.beta,
            nbest,
            hotword_weights(self.hotword or []),
            self.lexicon,
            self.oov,
            self.lm_level,
            unlisted=self.unlisted,
        )


@dataclass(frozen=True)
class Running:
    """The options of how recordings go through the network."""

    streaming: Streaming = False
    chunk: Chunk = None
    context: Context = CONTEXT_SECONDS
    device: Device = "cpu"
    threads: Threads = 0
    precision: Precision = "float32"

    def check(self) -> None:
        """Refuse options for streams without ``--streaming``, and with it the options that streams do not have.

        Raises
        ------
        UsageError
        """
        if not self.streaming and (self.chunk is not None or self.context != CONTEXT_SECONDS):
            raise UsageError("--chunk and --context are for --streaming: give it too, or leave them out")
        if self.streaming and (self.device != "cpu" or self.precision != "float32"):
            raise UsageError(
                f"--streaming runs on the CPU in float32; got --device {self.device} --precision {self.precision}"
            )

    def live_model(self, model: str, decoding: "DecodingOptions") -> "LiveModel":
        """Return a model for streams with these options."""
        return live_model(model, decoding, self.chunk, self.context, threads=self.threads or 1)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer, which takes each field of `Decoding` or `Running` as an option of its own."""
    signature = inspect.signature(command)
    groups = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups = {name: group for name, group in groups.items() if is_dataclass(group)}
    parameters = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation)
        for name, parameter in signature.parameters.items()
        for one in (inspect.signature(groups[name]).parameters.values() if name in groups else [parameter])
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def require_model(model: str, option: str = "--model") -> str:
    """Return `model`, or refuse if it is empty; `option` is the name of its option in messages.

    Raises
    ------
    UsageError
        If it is empty; the message lists the models that ship and what each is for.
    """
    if not model:
        from asr.bundle.shipped import list_shipped

        raise UsageError(f"{option} is missing: {list_shipped()}")
    return model


def hotword_weights(hotwords: list[str]) -> dict[str, float]:
    """Return phrase → weight of ``PHRASE`` or ``PHRASE=WEIGHT``.

    Raises
    ------
    UsageError
        If a weight is not a number.
    """
    if not hotwords:
        return {}  # Greedy decoding starts without Numba.
    from asr.decoder.hotwords import DEFAULT_WEIGHT

    weights = {}
    for hotword in hotwords:
        phrase, equals, weight = hotword.rpartition("=")
        try:
            weights[phrase if equals else hotword] = float(weight) if equals else DEFAULT_WEIGHT
        except ValueError:
            raise UsageError(
                f"--hotword {hotword!r}: {weight!r} is not a number; expected PHRASE or PHRASE=WEIGHT"
            ) from None
    return weights


def numbers(option: str, text: str, kind: Callable[[str], Number], expected: str) -> list[Number]:
    """Return the numbers that an option lists, separated by commas.

    Raises
    ------
    UsageError
        If one is not a number.
    """
    try:
        return [kind(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected {expected}") from None


def live_model(
    model: str,
    decoding: "DecodingOptions",
    chunk: float | None = None,
    context: float = CONTEXT_SECONDS,
    pause: float = PAUSE_SECONDS,
    longest: float = LONGEST_SECONDS,
    threads: int = 1,
) -> "LiveModel":
    """Return a model for streams with these options, ready for sound.

    Raises
    ------
    UsageError
        If the model cannot stream, or an option is out of its range.
    """
    import numpy as np

    from asr.live import EndpointRules, Listener, LiveModel

    rules = EndpointRules()
    rules = replace(
        rules,
        rule2=replace(rules.rule2, min_trailing_silence=pause),
        rule3=replace(rules.rule3, min_utterance_length=longest),
    )
    loaded = LiveModel(
        model,
        chunk_seconds=chunk,
        context_seconds=context,
        threads=threads,
        endpoint=rules,
        decoder=decoding,
    )
    # On a new machine the decoder is compiled at first use, which takes ten seconds: before anybody speaks.
    rate = loaded.log_mel.config.sample_rate
    Listener(loaded).push(np.zeros(round(rate * (loaded.latency_seconds + 0.1)), np.float32))
    return loaded
