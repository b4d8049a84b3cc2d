"""Several utterances on several threads: kernels release the GIL, so no process is forked."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy.typing as npt

from asr.decoder.hypothesis import Hypothesis
from asr.errors import DecodingError

# What a thread takes at once: few enough for all threads to be busy, and enough to keep it busy without Python. Of
# large utterances fewer: they are held and copied together, and gain nothing from it.
CHUNK_UTTERANCES, CHUNK_VALUES = 16, 1 << 20


def map_on_threads(
    decode_each: Callable[[Sequence[npt.ArrayLike]], Iterator[list[Hypothesis]]],
    log_probs: Iterable[npt.ArrayLike],
    threads: int,
) -> list[list[Hypothesis]]:
    """Decode utterances on some threads; the results are in the order of the utterances.

    Raises
    ------
    DecodingError
        If `threads` is below 1; or for an utterance that cannot be decoded, named by its place.
    """
    if not isinstance(threads, int) or threads < 1:
        raise DecodingError(f"threads is {threads!r}; expected at least 1")

    def decode_chunk(chunk: list[tuple[int, npt.ArrayLike]]) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = []
        try:
            found.extend(decode_each([utterance for _, utterance in chunk]))
        except DecodingError as error:
            raise DecodingError(f"utterance {chunk[len(found)][0]} of the batch: {error}") from error
        return found

    if threads == 1:
        return [each for chunk in _chunks(log_probs, CHUNK_UTTERANCES) for each in decode_chunk(chunk)]
    utterances = list(log_probs)
    size = max(1, min(CHUNK_UTTERANCES, len(utterances) // (4 * threads)))
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        return list(itertools.chain.from_iterable(pool.map(decode_chunk, _chunks(utterances, size))))


def _chunks(log_probs: Iterable[npt.ArrayLike], size: int) -> Iterator[list[tuple[int, npt.ArrayLike]]]:
    """Yield up to `size` utterances at a time, each with its place; fewer if they are large."""
    chunk: list[tuple[int, npt.ArrayLike]] = []
    values = 0
    for item in enumerate(log_probs):
        chunk.append(item)
        values += math.prod(getattr(item[1], "shape", ()))
        if len(chunk) == size or values >= CHUNK_VALUES:
            yield chunk
            chunk, values = [], 0
    if chunk:
        yield chunk
