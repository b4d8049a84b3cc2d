"""Which decoder a bundle is used with: greedy, or a beam with a language model."""

from dataclasses import dataclass
from pathlib import Path

from asr.decoder import GreedyDecoder
from asr.errors import DecodingError, UsageError
from asr.tokenizer import BLANK
from asr.transcription.bundle import LANGUAGE_MODEL, Bundle
from asr.transcription.transcribe import Decoder


@dataclass(frozen=True)
class DecodingOptions:
    """How log-probabilities become words.

    Parameters
    ----------
    beam_size : int
        1 is greedy decoding; more is a beam search.
    lm : str
        An n-gram model (ARPA, or our binary) for the beam search; empty for the bundle's own, where it has one;
        "none" for none.
    alpha, beta : float, optional
        Weight of the language model and bonus for a word; None takes those tuned for the bundle's own model, or
        the decoder's defaults for another.
    """

    beam_size: int = 1
    lm: str = ""
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise UsageError(f"the beam size is {self.beam_size}; expected 1 (greedy) or more")
        given = [f"--{name}" for name in ("lm", "alpha", "beta") if getattr(self, name) not in ("", None)]
        if self.lm == "none" and len(given) > 1:
            raise UsageError(f"{', '.join(given[1:])} weigh a language model, and --lm none means without one")
        if self.beam_size == 1 and given:
            raise UsageError(f"{', '.join(given)} is for beam search: give --beam-size too, for instance 100")


def make_decoder(bundle: Bundle, options: DecodingOptions) -> Decoder:
    """Return the decoder of `bundle` that `options` describe.

    Raises
    ------
    UsageError
        If the language model's file does not exist, or a weight is out of its range.
    DecodingError
        If the language model cannot be read.
    """
    tokens = bundle.tokenizer.tokens
    if options.beam_size == 1:
        return GreedyDecoder(tokens, blank=BLANK, frame_seconds=bundle.frame_seconds)
    from asr.decoder import BeamOptions, BeamSearchDecoder, NGramModel

    own = bundle.directory / LANGUAGE_MODEL
    defaults = BeamOptions()
    lm, weights = None, {"alpha": defaults.alpha, "beta": defaults.beta}
    if options.lm not in ("", "none"):
        if not Path(options.lm).is_file():
            raise UsageError(f"{options.lm}: no such language model; expected an ARPA file, none, or nothing")
        lm = NGramModel.read(options.lm)
    elif not options.lm and own.is_file():
        lm = NGramModel.read(own)
        weights |= bundle.decoding
    alpha = weights["alpha"] if options.alpha is None else options.alpha
    beta = weights["beta"] if options.beta is None else options.beta
    try:
        beam = BeamOptions(beam_size=options.beam_size, alpha=alpha, beta=beta)
    except DecodingError as error:
        raise UsageError(str(error)) from None
    return BeamSearchDecoder(tokens, blank=BLANK, frame_seconds=bundle.frame_seconds, options=beam, lm=lm)


def describe(bundle: Bundle, options: DecodingOptions) -> str:
    """Return a few words on the decoder, for tables."""
    if options.beam_size == 1:
        return "greedy"
    has_own = (bundle.directory / LANGUAGE_MODEL).is_file()
    lm = "no LM" if options.lm == "none" or not (options.lm or has_own) else "own LM" if not options.lm else options.lm
    return f"beam {options.beam_size}, {lm}"
