"""Beam search with pyctcdecode's names, arguments and results, on `asr.decoder.BeamSearchDecoder`."""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from asr.decoder.beam import BeamSearchDecoder
from asr.decoder.hotwords import Hotwords
from asr.decoder.hypothesis import Hypothesis
from asr.decoder.pyctcdecode.alphabet import Alphabet, verify_alphabet_coverage
from asr.decoder.pyctcdecode.constants import (
    DEFAULT_ALPHA,
    DEFAULT_BEAM_WIDTH,
    DEFAULT_BETA,
    DEFAULT_HOTWORD_WEIGHT,
    DEFAULT_MIN_TOKEN_LOGP,
    DEFAULT_PRUNE_BEAMS,
    DEFAULT_PRUNE_LOGP,
    DEFAULT_SCORE_LM_BOUNDARY,
    DEFAULT_UNK_LOGP_OFFSET,
)
from asr.decoder.pyctcdecode.language_model import LanguageModel, LMState
from asr.decoder.pyctcdecode.units import search_options, to_log_probs, with_hotwords
from asr.errors import DecodingError
from asr.files import write_text

# A text; the state of the language model after it; its words with first frame and the one behind the last; the acoustic
# score; and that with language model, word bonuses and hotwords. All scores are natural logarithms.
TextFrames = list[tuple[str, tuple[int, int]]]
OutputBeam = tuple[str, LMState | None, TextFrames, float, float]
OutputBeamMPSafe = tuple[str, TextFrames, float, float]


class BeamSearchDecoderCTC:
    """Decodes logits, log-probabilities or probabilities with an n-gram model of words and with hotwords.

    Parameters
    ----------
    alphabet
        The labels.
    language_model
        The n-gram model; without one, labellings are ranked by their acoustic score.

    Raises
    ------
    DecodingError
        If the alphabet has no blank, or the language model is of another class.
    """

    _ALPHABET_SERIALIZED_FILENAME = "alphabet.json"
    _LANGUAGE_MODEL_SERIALIZED_DIRECTORY = "language_model"

    def __init__(self, alphabet: Alphabet, language_model: LanguageModel | None = None) -> None:
        if language_model is not None and not isinstance(language_model, LanguageModel):
            raise DecodingError(
                f"the language model is {type(language_model).__name__}; expected a LanguageModel: models that score "
                "words in Python, and several at once, are not supported (mix n-gram models: `asr lm interpolate`)"
            )
        self._alphabet = alphabet
        self._labels = alphabet.to_labels()
        self._model_key = os.urandom(16)
        self.model_container: dict[bytes, LanguageModel | None] = {self._model_key: language_model}
        # By the model as it is searched with.
        self._searches: dict[int, BeamSearchDecoder] = {}

    @property
    def _language_model(self) -> LanguageModel | None:
        return self.model_container[self._model_key]

    def reset_params(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        unk_score_offset: float | None = None,
        lm_score_boundary: bool | None = None,
    ) -> None:
        """Set weights of the language model; None leaves one unchanged."""
        if self._language_model is not None:
            self._language_model.reset_params(
                alpha=alpha, beta=beta, unk_score_offset=unk_score_offset, score_boundary=lm_score_boundary
            )

    @classmethod
    def clear_class_models(cls) -> None:
        """Do nothing: each decoder holds its own model."""

    def cleanup(self) -> None:
        """Forget the language model."""
        self.model_container[self._model_key] = None
        self._searches.clear()

    def decode_beams(
        self,
        logits: npt.ArrayLike,
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        prune_history: bool = DEFAULT_PRUNE_BEAMS,  # noqa: ARG002 - see below
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
        lm_start_state: LMState | None = None,
    ) -> list[OutputBeam]:
        """Return the best texts of an utterance, best first, at most `beam_width`.

        Parameters
        ----------
        logits
            Floats ``(T, V)``: raw outputs, log-probabilities, or probabilities (each frame sums to 1).
        beam_width
            Hypotheses kept after each frame.
        beam_prune_logp
            Hypotheses so far below the best one are dropped; nats, at most 0.
        token_min_logp
            Log-probability below which a token is not tried; the best one always is.
        prune_history
            Accepted, without effect.
        hotwords, hotword_weight
            Phrases; each of their words counts `hotword_weight` nats whenever it is said.
        lm_start_state
            The second field of a result, to continue from.

        Raises
        ------
        DecodingError
            If the logits do not fit the alphabet, or a number is out of its range.
        """
        search, weights = self._search(
            beam_width, beam_prune_logp, token_min_logp, beam_width, hotwords, hotword_weight
        )
        frames = to_log_probs(logits, len(self._labels))
        lm = self._language_model
        before = lm_start_state or (lm.get_start_state() if lm is not None else None)
        if not len(frames):
            return [("", before, [], 0.0, 0.0)]
        found = search(frames, hotwords=weights, context=_words_of(before))
        return [(beam.text, self._state_after(before, beam), *_scored(beam)) for beam in found]

    def decode_beams_batch(
        self,
        pool: Any,
        logits_list: Iterable[npt.ArrayLike],
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        prune_history: bool = DEFAULT_PRUNE_BEAMS,  # noqa: ARG002
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
    ) -> list[list[OutputBeamMPSafe]]:
        """Return the best texts of several utterances, without states.

        A pool of processes only says on how many threads: the search holds no lock of Python's.
        """
        search, weights = self._search(
            beam_width, beam_prune_logp, token_min_logp, beam_width, hotwords, hotword_weight
        )
        return [
            [(beam.text, *_scored(beam)) for beam in beams] for beams in self._batch(pool, logits_list, search, weights)
        ]

    def decode(
        self,
        logits: npt.ArrayLike,
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
        lm_start_state: LMState | None = None,
    ) -> str:
        """Return the best text of an utterance; arguments as of `decode_beams`."""
        search, weights = self._search(beam_width, beam_prune_logp, token_min_logp, 1, hotwords, hotword_weight)
        frames = to_log_probs(logits, len(self._labels))
        context = _words_of(lm_start_state)
        return search(frames, hotwords=weights, context=context)[0].text if len(frames) else ""

    def decode_batch(
        self,
        pool: Any,
        logits_list: Iterable[npt.ArrayLike],
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
    ) -> list[str]:
        """Return the best text of each of several utterances; the pool as of `decode_beams_batch`."""
        search, weights = self._search(beam_width, beam_prune_logp, token_min_logp, 1, hotwords, hotword_weight)
        return [beams[0].text if beams else "" for beams in self._batch(pool, logits_list, search, weights)]

    def save_to_dir(self, filepath: str | os.PathLike[str]) -> None:
        """Write alphabet.json and, with a model, the folder language_model, as Hugging Face's folders hold them."""
        folder = Path(filepath)
        write_text(folder / self._ALPHABET_SERIALIZED_FILENAME, self._alphabet.dumps())
        if self._language_model is not None:
            model_folder = folder / self._LANGUAGE_MODEL_SERIALIZED_DIRECTORY
            model_folder.mkdir(exist_ok=True)
            self._language_model.save_to_dir(model_folder)

    @staticmethod
    def parse_directory_contents(filepath: str | os.PathLike[str]) -> dict[str, str | None]:
        """Return the paths of the alphabet and, where there is one, of the language model's folder.

        Raises
        ------
        DecodingError
            If there is no alphabet.
        """
        folder = Path(filepath)
        alphabet = folder / BeamSearchDecoderCTC._ALPHABET_SERIALIZED_FILENAME
        if not alphabet.is_file():
            raise DecodingError(f"{folder} has no {alphabet.name}; expected the folder of a decoder")
        model = folder / BeamSearchDecoderCTC._LANGUAGE_MODEL_SERIALIZED_DIRECTORY
        return {"alphabet": str(alphabet), "language_model": str(model) if model.is_dir() else None}

    @classmethod
    def load_from_dir(
        cls, filepath: str | os.PathLike[str], unigram_encoding: str | None = None
    ) -> "BeamSearchDecoderCTC":
        """Read a decoder that `save_to_dir` wrote, or that stands in the folder of a Hugging Face model.

        Raises
        ------
        DecodingError
            If a file is missing or cannot be read.
        """
        paths = cls.parse_directory_contents(filepath)
        try:
            alphabet = Alphabet.loads(Path(str(paths["alphabet"])).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise DecodingError(f"{paths['alphabet']} cannot be read: {error}") from error
        model = None
        if paths["language_model"] is not None:
            model = LanguageModel.load_from_dir(paths["language_model"], unigram_encoding)
        return cls(alphabet, model)

    @classmethod
    def load_from_hf_hub(cls, model_id: str, cache_dir: str | None = None, **kwargs: Any) -> "BeamSearchDecoderCTC":
        """Fetch a model's files from the Hugging Face hub, and read the decoder among them.

        Keywords go to ``huggingface_hub.snapshot_download``.

        Raises
        ------
        DecodingError
            If huggingface_hub is not installed, the files cannot be fetched, or as of `load_from_dir`.
        """
        try:
            from huggingface_hub import snapshot_download
        except ImportError:
            raise DecodingError("load_from_hf_hub needs huggingface_hub: pip install huggingface-hub") from None
        try:
            folder = snapshot_download(model_id, cache_dir=cache_dir, **kwargs)
        except (OSError, ValueError) as error:
            raise DecodingError(
                f"cannot fetch {model_id!r} from the hub: {error} (for a folder, use load_from_dir)"
            ) from error
        return cls.load_from_dir(folder)

    def _search(
        self,
        beam_width: int,
        beam_prune_logp: float,
        token_min_logp: float,
        nbest: int,
        hotwords: Iterable[str] | None,
        hotword_weight: float,
    ) -> tuple[BeamSearchDecoder, Hotwords]:
        """Return the decoder with these numbers, and the hotwords."""
        lm = self._language_model
        model = lm.search_model if lm is not None else None
        if id(model) not in self._searches:
            with warnings.catch_warnings():
                # `verify_alphabet_coverage` has said so.
                warnings.filterwarnings("ignore", message="the labels can write", category=UserWarning)
                self._searches[id(model)] = BeamSearchDecoder(self._labels, lm=model)
        options = search_options(lm, beam_width, beam_prune_logp, token_min_logp, nbest)
        return with_hotwords(self._searches[id(model)].with_options(**options), lm, hotwords, hotword_weight)

    def _batch(
        self, pool: Any, logits_list: Iterable[npt.ArrayLike], search: BeamSearchDecoder, hotwords: Hotwords
    ) -> list[list[Hypothesis]]:
        if not isinstance(logits_list, Iterable):
            raise DecodingError(f"the list of logits is {logits_list!r:.60}; expected arrays (frames, labels)")
        utterances = [to_log_probs(logits, len(self._labels)) for logits in logits_list]
        threads = 1 if pool is None else getattr(pool, "_processes", None) or os.cpu_count() or 1
        filled = [utterance for utterance in utterances if len(utterance)]
        found = iter(search.decode_batch(filled, threads=threads, hotwords=hotwords))
        nothing = Hypothesis("", (), (), acoustic_score=0.0)
        return [next(found) if len(utterance) else [nothing] for utterance in utterances]

    def _state_after(self, before: LMState | None, beam: Hypothesis) -> LMState | None:
        lm = self._language_model
        if lm is None or before is None:
            return None
        state = before
        for word in beam.words:
            state = lm.score(state, word.text)[1]
        return state


def _words_of(state: LMState | None) -> str:
    """Return what was said before a state."""
    if state is not None and not isinstance(state, LMState):
        raise DecodingError(
            f"lm_start_state is {state!r:.60}; expected the second field of a result of decode_beams, or None"
        )
    return " ".join(state.words) if state is not None else ""


def _scored(beam: Hypothesis) -> tuple[TextFrames, float, float]:
    frames = [(word.text, (round(word.start_seconds), round(word.end_seconds))) for word in beam.words]
    return frames, beam.acoustic_score, beam.score


def build_ctcdecoder(
    labels: Sequence[str],
    kenlm_model_path: str | os.PathLike[str] | None = None,
    unigrams: Collection[str] | None = None,
    alpha: float = DEFAULT_ALPHA,
    beta: float = DEFAULT_BETA,
    unk_score_offset: float = DEFAULT_UNK_LOGP_OFFSET,
    lm_score_boundary: bool = DEFAULT_SCORE_LM_BOUNDARY,
) -> BeamSearchDecoderCTC:
    """Return a decoder for a model's labels.

    Parameters
    ----------
    labels
        In the order of the logits' columns: see `Alphabet.build_alphabet`.
    kenlm_model_path
        An ARPA file, plain or packed; KenLM's probing binary; or our binary.
    unigrams, alpha, beta, unk_score_offset, lm_score_boundary
        As of `LanguageModel`.

    Raises
    ------
    DecodingError
        If labels or model are not usable.
    """
    alphabet = Alphabet.build_alphabet(labels)
    if kenlm_model_path is None:
        return BeamSearchDecoderCTC(alphabet)
    model = LanguageModel(kenlm_model_path, unigrams, alpha, beta, unk_score_offset, lm_score_boundary)
    verify_alphabet_coverage(alphabet, model.unigrams)
    return BeamSearchDecoderCTC(alphabet, model)
