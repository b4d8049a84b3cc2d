"""Several utterances on several threads: kernels release the GIL, so no process is forked."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy.typing as npt

from asr.decoder.hypothesis import Hypothesis
from asr.errors import DecodingError


def map_on_threads(
    decode: Callable[[npt.ArrayLike], list[Hypothesis]], log_probs: Iterable[npt.ArrayLike], threads: int
) -> list[list[Hypothesis]]:
    """Decode utterances on some threads; the results are in the order of the utterances.

    Raises
    ------
    DecodingError
        If `threads` is below 1; or for an utterance that cannot be decoded, named by its place.
    """
    if not isinstance(threads, int) or threads < 1:
        raise DecodingError(f"threads is {threads!r}; expected at least 1")

    def decode_one(item: tuple[int, npt.ArrayLike]) -> list[Hypothesis]:
        index, utterance = item
        try:
            return decode(utterance)
        except DecodingError as error:
            raise DecodingError(f"utterance {index} of the batch: {error}") from error

    items = enumerate(log_probs)
    if threads == 1:
        return [decode_one(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        return list(pool.map(decode_one, items))
