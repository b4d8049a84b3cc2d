"""The decoder for a bundle: greedy, or a beam search with a language model, hotwords and a lexicon."""

import functools
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from numpy.typing import NDArray

from asr.bundle.bundle import Bundle
from asr.decoder import GreedyDecoder, Hypothesis, Labels
from asr.errors import DecodingError, UsageError
from asr.lexicon.checking import missing_from_lm
from asr.text import PROFILES
from asr.tokenizer import BLANK, PhoneTokenizer
from asr.transcription.matching import spelling
from asr.transcription.pronouncing import own_lexicon, phone_labels, pronounced

if TYPE_CHECKING:
    import numpy as np

    from asr.decoder import BeamOptions, BeamSearchDecoder, Hotwords, Lexicon, NGramModel

# From log-probabilities (T, V) to readings, best first.
Decoder = Callable[[NDArray[Any]], Sequence[Hypothesis]]
Oov = Literal["allow", "penalise", "forbid"]
Unlisted = Literal["forbid", "spell"]

# Of a search for the one best reading with a lexicon of phones; docs/decoder.md has the table that it follows from.
LARGE_VOCABULARY = {"recombine": True, "token_threshold": -5.0, "beam_threshold": 10.0}

logger = logging.getLogger("asr")

# Of a beam search that was asked for without a size, by a bundle that has none of its own.
BEAM_SIZE = 100
# The bundle's own language model.
OWN = "own"
# What results say of the decoder where it used the bundle's own language model.
OWN_LM = "own LM"


@dataclass(frozen=True)
class DecodingOptions:
    """How log-probabilities become words.

    Parameters
    ----------
    beam_size : int, optional
        1 decodes greedily, more by beam search. None decodes greedily, unless another option needs a beam search or
        the model's tokens are phones: then the size is the one tuned for the bundle, or 100. Greedy decoding of phones
        gives phones, not words.
    lm : path, NGramModel or None
        An n-gram model for the beam search, or its file (ARPA, .bin, .npz or KenLM's); "own" is the bundle's, if it
        has one; None uses none.
    alpha, beta : float, optional
        Weight of the language model and bonus for a word; None uses those tuned for the bundle's own model, or
        the decoder's defaults for another.
    nbest : int
        Alternatives kept for each segment.
    hotwords : sequence of str, or mapping
        Expected phrases, or phrase → weight in nats. A model of phones guesses their pronunciations.
    lexicon : str
        A file with the only words allowed, one per line, or ``WORD SPELLING``; if empty, a model of phones uses its
        own, and others none.
    oov : {"allow", "penalise", "forbid"}, optional
        How to treat words that the language model does not know; None penalises them.
    label_priors : sequence of float, optional
        The natural logarithm of each label's share of the frames, V of them; times `prior_weight`, they are subtracted
        from the log-probabilities.
    unlisted : {"forbid", "spell"}, optional
        How to treat words that the lexicon lacks: never output them, or spell them by their labels, as
        ``<S-IH-NG>``, at the cost of the decoder's `oov_score` each; None forbids them.
    prior_weight, blank_scale : float, optional
        See `asr.decoder.BeamOptions`; for greedy decoding too. None uses the decoder's defaults.
    lm_level : {"word", "token"}, optional
        Whether the language model is one of words or of the model's tokens; None: of tokens if all its words are.

    Raises
    ------
    UsageError
        If options contradict each other, or one is out of its range.
    """

    beam_size: int | None = None
    lm: "str | os.PathLike[str] | NGramModel | None" = OWN
    alpha: float | None = None
    beta: float | None = None
    nbest: int = 1
    hotwords: Sequence[str] | Mapping[str, float] = ()
    lexicon: str = ""
    oov: Oov | None = None
    lm_level: Literal["word", "token"] | None = None
    label_priors: Sequence[float] | None = None
    prior_weight: float | None = None
    blank_scale: float | None = None
    unlisted: Unlisted | None = None

    def __post_init__(self) -> None:
        for name, value in (("beam size", self.beam_size), ("nbest", self.nbest)):
            if value is not None and value < 1:
                raise UsageError(f"the {name} is {value}; expected 1 or more (a beam of 1 is greedy decoding)")
        weighs = [name for name in ("alpha", "beta", "oov") if getattr(self, name) is not None]
        if self.lm is None and weighs:
            raise UsageError(f"got {', '.join(weighs)} without a language model: lm is none")
        if self.beam_size == 1 and self.needs_beam:
            raise UsageError(
                f"got {', '.join(self._of_beam_search())} with a beam size of 1, which decodes greedily: "
                "leave one of them out"
            )

    @property
    def needs_beam(self) -> bool:
        """Whether an option other than the beam size is one of beam search."""
        return bool(self._of_beam_search())

    def with_absolute_paths(self) -> "DecodingOptions":
        """Return the options with absolute paths, for a process with another working folder."""
        lm = self.lm
        if isinstance(lm, str | os.PathLike) and lm != OWN:
            lm = Path(lm).absolute()
        return replace(self, lm=lm, lexicon=self.lexicon and str(Path(self.lexicon).absolute()))

    def _of_beam_search(self) -> list[str]:
        """Return the names of the options given that greedy decoding does not know."""
        of_both = ("beam_size", "label_priors", "prior_weight", "blank_scale")
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in of_both}
        values["nbest"] = None if self.nbest == 1 else self.nbest
        values["lm"] = None if self.lm == OWN else self.lm
        return [name for name, value in values.items() if value is not None and value not in ("", (), [], {})]

    def beam_size_for(self, bundle: Bundle) -> int:
        """Return the beam size to use with a bundle; 1 is greedy decoding."""
        if self.beam_size is not None:
            return self.beam_size
        # Phones become words by a search with the lexicon alone.
        if not self.needs_beam and bundle.tokenizer.kind != "phones":
            return 1
        return int(bundle.decoding.get("beam_size", BEAM_SIZE))


class DecodingKeywords(TypedDict, total=False):
    """The fields of `DecodingOptions`, as keywords of `load`."""

    beam_size: int | None
    lm: "str | os.PathLike[str] | NGramModel | None"
    alpha: float | None
    beta: float | None
    nbest: int
    hotwords: Sequence[str] | Mapping[str, float]
    lexicon: str
    oov: Oov | None
    lm_level: Literal["word", "token"] | None
    label_priors: Sequence[float] | None
    prior_weight: float | None
    blank_scale: float | None
    unlisted: Unlisted | None


def make_decoder(bundle: Bundle, options: DecodingOptions) -> Decoder:
    """Return the decoder for `bundle` with these options.

    Raises
    ------
    UsageError
        If the language model's file does not exist, or a weight is out of its range.
    DecodingError
        If the language model or the lexicon cannot be read, or does not fit the model's alphabet.
    """
    tokens = bundle.tokenizer.tokens
    beam_size = options.beam_size_for(bundle)
    scales = _scales(bundle, options)
    priors = _label_priors(bundle, options, scales.get("prior_weight"))
    if beam_size == 1:
        return GreedyDecoder(
            phone_labels(bundle.tokenizer) if isinstance(bundle.tokenizer, PhoneTokenizer) else Labels(tokens, BLANK),
            frame_seconds=bundle.frame_seconds,
            label_priors=priors,
            **scales,  # type: ignore[arg-type]
        )
    from asr.decoder import BeamSearchDecoder, NGramModel

    path = _language_model(bundle, options)
    tuned = bundle.decoding if path and options.lm == OWN else {}
    beam = _beam_options(bundle, options, path, beam_size, scales)
    lm = NGramModel.read(path) if isinstance(path, Path) else path
    if lm is not None and not tuned.get("sentence_end", True):
        lm = lm.adapted(sentence_start=False)
    if lm is not None and options.lm != OWN and not options.lexicon and isinstance(bundle.tokenizer, PhoneTokenizer):
        _tell_lacking(missing_from_lm(bundle.tokenizer.lexicon, lm.words))
    level = options.lm_level or ("token" if lm is not None and lm.is_of_tokens(tokens) else "word")
    labels = _labels(bundle, options, lm if level == "word" else None)
    hotwords = _hotwords(bundle, options, labels)
    with warnings.catch_warnings():
        # A language model most of whose words the model cannot write makes the words worse, not better.
        warnings.filterwarnings("error", message="the labels can write", category=UserWarning)
        try:
            return BeamSearchDecoder(
                labels,
                frame_seconds=bundle.frame_seconds,
                options=beam,
                lm=lm,
                lm_level=level,
                lexicon=_lexicon(bundle, options, hotwords),
                hotwords=hotwords,
                label_priors=priors,
            )
        except UserWarning as warning:
            raise DecodingError(f"{path}: does not fit model {bundle.name}: {warning}") from None


def _beam_options(
    bundle: Bundle, options: DecodingOptions, lm: "Path | NGramModel | None", beam_size: int, scales: dict[str, float]
) -> "BeamOptions":
    """Return the options of the beam search: those given, those tuned for the bundle's own model, and defaults.

    Raises
    ------
    UsageError
        If an option is out of its range, or for a language model or a lexicon that does not exist.
    """
    from asr.decoder import BeamOptions

    tuned = bundle.decoding if lm and options.lm == OWN else {}
    chosen = {"alpha": options.alpha, "beta": options.beta, "oov": options.oov}
    given = {name: value for name, value in chosen.items() if value is not None}
    if options.lexicon and not Path(options.lexicon).is_file():
        raise UsageError(f"{options.lexicon}: no such lexicon; expected a file of words")
    if given and lm is None:
        raise UsageError(
            f"got {', '.join(given)} without a language model: bundle {bundle.name} has none; give one with lm"
        )
    if options.unlisted and not options.lexicon and bundle.tokenizer.kind != "phones":
        raise UsageError(
            f"unlisted is {options.unlisted!r}, but model {bundle.name} has no lexicon: give one, or leave it out"
        )
    of_model = ("alpha", "beta", "oov_score", "empty_score", "sentence_end")
    of_lexicon = {"unlisted": options.unlisted} if options.unlisted else {}
    weights = {name: tuned[name] for name in of_model if name in tuned} | given | scales | of_lexicon
    try:
        # A large vocabulary fills the beam with what differs in words long past; alternatives need just that.
        is_large = isinstance(bundle.tokenizer, PhoneTokenizer) and options.nbest == 1
        pruning = LARGE_VOCABULARY if is_large else {}
        return BeamOptions(beam_size=beam_size, nbest=options.nbest, **pruning, **weights)  # type: ignore[arg-type]
    except DecodingError as error:
        raise UsageError(str(error)) from None


def with_hotwords(bundle: Bundle, decoder: "BeamSearchDecoder", options: DecodingOptions) -> "BeamSearchDecoder":
    """Return a decoder from `make_decoder` with the hotwords of `options`; the two share all models.

    Raises
    ------
    UsageError
        If a hotword cannot be written or pronounced.
    """
    hotwords = _hotwords(bundle, options, decoder.labels)
    if isinstance(bundle.tokenizer, PhoneTokenizer) and (new := bundle.tokenizer.lexicon.missing(hotwords.words)):
        from asr.decoder import Lexicon

        decoder = decoder.with_options()
        decoder.add_words(Lexicon.from_entries(pronounced(bundle, new)))
    return decoder.with_hotwords(hotwords)


@functools.cache
def _tell_lacking(told: str) -> None:
    """Log, once in a process, which words of a language model cannot be recognised."""
    if told:
        logger.warning("asr: %s", told)


def _scales(bundle: Bundle, options: DecodingOptions) -> dict[str, float]:
    """Return the weight of the label priors and the scale of the blank, where they are given or the bundle has them."""
    asked = {"prior_weight": options.prior_weight, "blank_scale": options.blank_scale}
    own = {name: bundle.decoding[name] for name in asked if name in bundle.decoding}
    return own | {name: value for name, value in asked.items() if value is not None}


def _label_priors(
    bundle: Bundle, options: DecodingOptions, weight: float | None
) -> "Sequence[float] | NDArray[np.float32] | None":
    """Return the label priors: those given, or the bundle's own where they have a weight."""
    if options.label_priors is not None or weight is None:
        return options.label_priors
    own = bundle.label_priors()
    if own is None:
        raise UsageError(f"prior_weight is {weight}, but there are no label priors: bundle {bundle.name} has none")
    return own


def _lexicon(bundle: Bundle, options: DecodingOptions, hotwords: "Hotwords") -> "Lexicon | None":
    from asr.decoder import Lexicon

    if isinstance(bundle.tokenizer, PhoneTokenizer):
        return own_lexicon(bundle, hotwords.words, options.lexicon)
    return Lexicon.read(options.lexicon) if options.lexicon else None


def _labels(bundle: Bundle, options: DecodingOptions, lm: "NGramModel | None") -> Labels:
    """Return the labels, which find their words in a language model of another spelling as the bundle says."""
    labels = Labels(bundle.tokenizer.tokens, BLANK)
    # A lexicon says itself how words are written.
    if not bundle.text_profile or options.lexicon or not labels.has_words:
        return labels
    table = spelling("".join(labels.letters), lm.words if lm else (), PROFILES[bundle.text_profile])
    return replace(labels, lookup=table) if table else labels


def _hotwords(bundle: Bundle, options: DecodingOptions, labels: Labels) -> "Hotwords":
    from asr.decoder import Hotwords

    try:
        weights = Hotwords(options.hotwords).weights
        hotwords = Hotwords({labels.looked_up(" ".join(phrase)): weight for phrase, weight in weights.items()})
    except DecodingError as error:
        raise UsageError(str(error)) from None
    if isinstance(bundle.tokenizer, PhoneTokenizer):
        return hotwords
    letters = set("".join(labels.spelled))
    for phrase in hotwords.weights:
        if unknown := sorted(set("".join(phrase)) - letters):
            raise UsageError(
                f"hotword {' '.join(phrase)!r} has characters that model {bundle.name} cannot write: "
                f"{''.join(unknown)!r}; expected only {''.join(sorted(letters))!r}"
            )
    return hotwords


def _language_model(bundle: Bundle, options: DecodingOptions) -> "Path | NGramModel | None":
    """Return the language model, or its file; None if there is none.

    Raises
    ------
    UsageError
        If the file does not exist.
    """
    lm = options.lm
    if lm == OWN:
        return bundle.language_model
    if isinstance(lm, str | os.PathLike):
        if not Path(lm).is_file():
            raise UsageError(f"{lm}: no such language model; expected a file (ARPA, .bin, .npz, KenLM's), own or none")
        return Path(lm)
    return lm


def describe(bundle: Bundle, options: DecodingOptions) -> str:
    """Return a short description of the decoder, for tables."""
    beam_size = options.beam_size_for(bundle)
    if beam_size == 1:
        return "greedy"
    path = _language_model(bundle, options)
    named = options.lm if isinstance(options.lm, str | os.PathLike) else "an LM"
    lm = "no LM" if path is None else OWN_LM if options.lm == OWN else os.fspath(named)
    count = len(options.hotwords)
    hotwords = f", {count} hotword{'s' if count > 1 else ''}" if count else ""
    return f"beam {beam_size}, {lm}{hotwords}{', a lexicon' if options.lexicon else ''}"
