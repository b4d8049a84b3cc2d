"""The decoders of a model for all options of clients; language model and lexicon are read once."""

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from asr.bundle.bundle import Bundle
from asr.errors import AsrError, DecodingError, ModelError, UsageError
from asr.transcription.decoding import OWN, Decoder, DecodingOptions, make_decoder, with_hotwords

if TYPE_CHECKING:
    from asr.decoder import BeamSearchDecoder

# Decoders kept for requests with the same options: compiling hotwords takes time.
KEPT_DECODERS = 16


class Decoders:
    """Makes decoders, and keeps them; several threads may call it.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._beams: dict[bool, BeamSearchDecoder] = {}
        self._kept = lru_cache(KEPT_DECODERS)(self._make)
        # One at a time, so that two requests do not both read the language model.
        self._making = threading.Lock()

    def __call__(self, options: DecodingOptions) -> Decoder:
        """Return a decoder with a client's beam size, n-best and hotwords, with the model's own LM or none.

        Raises
        ------
        UsageError
            If the model cannot be decoded so.
        ModelError
            If the bundle's language model or lexicon cannot be used.
        """
        with self._making:
            return self._kept(options)

    def _make(self, options: DecodingOptions) -> Decoder:
        beam_size = options.beam_size_for(self._bundle)
        if beam_size == 1:
            return make_decoder(self._bundle, DecodingOptions(beam_size=1))
        beam = self._beam(has_lm=options.lm == OWN)
        try:
            return with_hotwords(self._bundle, beam.with_options(beam_size=beam_size, nbest=options.nbest), options)
        except DecodingError as error:
            raise UsageError(str(error)) from None

    def _beam(self, *, has_lm: bool) -> "BeamSearchDecoder":
        from asr.decoder import BeamSearchDecoder

        if has_lm not in self._beams:
            try:
                made = make_decoder(self._bundle, DecodingOptions(beam_size=2, lm=OWN if has_lm else None))
            except AsrError as error:
                raise ModelError(str(error)) from None
            assert isinstance(made, BeamSearchDecoder)
            self._beams[has_lm] = made
        return self._beams[has_lm]
