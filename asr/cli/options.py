"""The options that commands share, so that one name means one thing; and what is made of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from asr.errors import UsageError

if TYPE_CHECKING:
    from asr.live import LiveModel
    from asr.transcription.decoding import DecodingOptions

MODEL_HELP = "The folder of a model, or the name of one that ships."
OUT = ("--output-dir", "-o", "--out")

Model = Annotated[str, typer.Option(help=MODEL_HELP)]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
Device = Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (PyTorch).')]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: one a core.")]
Jobs = Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")]
Cluster = Annotated[
    str, typer.Option(metavar="tcp://HOST:PORT", help="A dask scheduler whose workers do the work.", show_default=False)
]
Precision = Annotated[Literal["float32", "int8"], typer.Option(help="int8 is faster on the CPU; LSTMs only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

BeamSize = Annotated[
    int | None, typer.Option(help="1: greedy. More: beam search, with the model's own n-grams.", show_default="1")
]
Lm = Annotated[str, typer.Option(help="The n-gram model of the beam search: a file (ARPA or binary), own, or none.")]
Alpha = Annotated[float | None, typer.Option(help="Weight of the n-gram model.")]
Beta = Annotated[float | None, typer.Option(help="Bonus for each word, in nats.")]
Oov = Annotated[
    Literal["allow", "penalise", "forbid"] | None, typer.Option(help="Words that the n-gram model does not know.")
]
LmLevel = Annotated[
    Literal["word", "token"] | None,
    typer.Option(help="What the n-grams are of; by default tokens, if they list nothing else.", show_default=False),
]
Hotword = Annotated[list[str] | None, typer.Option(help="An expected phrase, or PHRASE=WEIGHT; repeatable.")]
Lexicon = Annotated[str, typer.Option(help="The only words allowed: a file, WORD or WORD SPELLING a line.")]

Streaming = Annotated[bool, typer.Option("--streaming", help="Hear recordings as asr listen does, and tell how late.")]
Chunk = Annotated[
    float | None,
    typer.Option(
        help="Seconds that go through the network at once.", show_default="0.16; of bidirectional models 0.32"
    ),
]
Context = Annotated[float, typer.Option(help="Seconds after a chunk that a bidirectional model sees too.")]
Pause = Annotated[float, typer.Option(min=0, help="An utterance ends after so many seconds without words.")]
Longest = Annotated[float, typer.Option(min=0, help="An utterance ends after so many seconds without a pause.")]
CONTEXT_SECONDS, PAUSE_SECONDS, LONGEST_SECONDS = 0.6, 1.2, 20.0


def require_model(model: str, option: str = "--model") -> str:
    """Return `model`, or refuse to guess one; `option` is how it is given.

    Raises
    ------
    UsageError
        If it is empty; the message lists the models that ship and what each is for.
    """
    if not model:
        from asr.bundle.bundle import list_shipped

        raise UsageError(f"{option} is missing: {list_shipped()}")
    return model


def shipped_models() -> dict[str, str]:
    """Return name → description of the models that ship, for a help text: nothing heavy is imported for it."""
    configs = sorted((Path(__file__).parent.parent / "models").glob("*/config.json"))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["description"] for path in configs}


def decoding_options(
    beam_size: int | None,
    lm: str,
    alpha: float | None,
    beta: float | None,
    oov: Literal["allow", "penalise", "forbid"] | None,
    hotword: list[str] | None,
    lexicon: str,
    nbest: int = 1,
    lm_level: Literal["word", "token"] | None = None,
) -> "DecodingOptions":
    """Return what the options of decoding describe.

    Raises
    ------
    UsageError
        If they contradict each other, or one is out of its range.
    """
    from asr.transcription.decoding import DecodingOptions

    chosen = None if lm == "none" else lm
    phrases = hotword_weights(hotword or [])
    return DecodingOptions(beam_size, chosen, alpha, beta, nbest, phrases, lexicon, oov, lm_level)


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


def refuse_without_streaming(streaming: bool, chunk: float | None, context: float, device: str, precision: str) -> None:
    """Refuse options of streams without ``--streaming``, and with it those that streams do not know.

    Raises
    ------
    UsageError
    """
    if not streaming and (chunk is not None or context != CONTEXT_SECONDS):
        raise UsageError("--chunk and --context are for --streaming: give it too, or leave them out")
    if streaming and (device != "cpu" or precision != "float32"):
        raise UsageError(f"--streaming runs on the CPU in float32; got --device {device} --precision {precision}")


def live_model(
    model: str,
    decoding: "DecodingOptions",
    chunk: float | None = None,
    context: float = CONTEXT_SECONDS,
    pause: float = PAUSE_SECONDS,
    longest: float = LONGEST_SECONDS,
    threads: int = 1,
) -> "LiveModel":
    """Return a model that hears streams as the options say.

    Raises
    ------
    UsageError
        If the model cannot stream, or an option is out of its range.
    """
    from dataclasses import replace

    from asr.live import EndpointRules, LiveModel

    rules = EndpointRules()
    rules = replace(
        rules,
        rule2=replace(rules.rule2, min_trailing_silence=pause),
        rule3=replace(rules.rule3, min_utterance_length=longest),
    )
    return LiveModel(
        model,
        chunk_seconds=chunk,
        context_seconds=context,
        threads=threads,
        endpoint=rules,
        decoder=decoding,
    )
