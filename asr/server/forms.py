"""The form of ``POST /v1/audio/transcriptions``: read within limits, and checked."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from asr.errors import UsageError
from asr.server.errors import ApiError
from asr.server.options import ServerOptions
from asr.transcription.decoding import DecodingOptions

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]

# Slower clients are cut off: they would keep places from others.
MIN_BYTES_PER_SECOND = 2_000
MAX_FIELDS = 1_000
MAX_FIELD_BYTES = 1 << 16
MAX_KEYWORDS = 1_000
# Larger beams are refused: they take the server's time.
MAX_BEAM_SIZE = 1_000


@dataclass(frozen=True)
class TranscriptionForm:
    """The fields of a request: OpenAI's, and our own, which begin with ``x_``.

    Parameters
    ----------
    file : UploadFile
    model : str
        Empty for the default.
    language : str
        ISO 639-1; empty if not given.
    keywords : tuple of str
        Hotwords.
    response_format : {"json", "text", "srt", "verbose_json", "vtt"}
    timestamp_granularities : tuple of {"word", "segment"}
    logprobs : bool
        Whether ``include[]`` asks for them.
    stream : bool
        Whether to answer by server-sent events.
    x_beam_size, x_nbest : int, optional
    x_lm : bool
        Whether the model's own language model may be used.
    """

    file: UploadFile
    model: str = ""
    language: str = ""
    keywords: tuple[str, ...] = ()
    response_format: ResponseFormat = "json"
    timestamp_granularities: tuple[Granularity, ...] = ("segment",)
    logprobs: bool = False
    stream: bool = False
    x_beam_size: int | None = None
    x_nbest: int = 1
    x_lm: bool = True

    def decoding(self, alphabet: frozenset[str]) -> DecodingOptions:
        """Return the decoding options, for a model whose letters are `alphabet`.

        Raises
        ------
        ApiError
            400, if options contradict each other.
        """
        hotwords = tuple(fit_case(keyword, alphabet) for keyword in self.keywords)
        lm = "own" if self.x_lm else None
        try:
            return DecodingOptions(beam_size=self.x_beam_size, nbest=self.x_nbest, hotwords=hotwords, lm=lm)
        except UsageError as error:
            raise ApiError(400, str(error)) from None


def fit_case(phrase: str, alphabet: frozenset[str]) -> str:
    """Return `phrase` in the letter case that a model writes: "Fort Worth" is "FORT WORTH" to one of capitals."""
    for version in (phrase, phrase.upper(), phrase.lower()):
        if set(version) - {" "} <= alphabet:
            return version
    return phrase


async def read_form(request: Request, options: ServerOptions) -> TranscriptionForm:
    """Read and check the form; files are kept on disk.

    Raises
    ------
    ApiError
        413 if it is too large, 408 if it comes too slowly, 400 if it is not the form that is expected.
    ClientDisconnect
        If the client goes while it sends.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > options.max_upload_bytes:
        raise too_large(options)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "Expected a body of multipart/form-data with a field 'file'.", param="file")
    limited = Request(request.scope, limited_receive(request.receive, options))
    try:
        form = await limited.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except HTTPException as error:
        raise ApiError(400, f"The form cannot be read ({error.detail}).") from None
    except (ValueError, UnicodeError, KeyError, IndexError) as error:
        # python-multipart lets some malformed headers through to where they are parsed.
        raise ApiError(400, f"The form cannot be read ({type(error).__name__}: {error}).") from None
    return parse_form(form)


def limited_receive(receive: Callable[[], Any], options: ServerOptions) -> Callable[[], Any]:
    """Return a `receive` that refuses a body that is too large, or comes too slowly."""
    received, started = 0, time.monotonic()

    async def limited() -> Message:
        nonlocal received
        deadline = started + options.upload_seconds + received / MIN_BYTES_PER_SECOND
        try:
            message = cast(
                "Message",
                await asyncio.wait_for(receive(), max(0.0, min(options.upload_seconds, deadline - time.monotonic()))),
            )
        except TimeoutError:
            raise ApiError(408, "The upload came too slowly.", code="timeout") from None
        received += len(message.get("body", b""))
        if received > options.max_upload_bytes:
            raise too_large(options)
        return message

    return limited


def too_large(options: ServerOptions) -> ApiError:
    """Return the error for a body over the limit."""
    return ApiError(413, f"The request is larger than the limit of {options.max_upload_mb:g} MB.", param="file")


def parse_form(form: FormData) -> TranscriptionForm:
    """Check a form, and return its fields.

    Raises
    ------
    ApiError
        400, naming the field that is missing or wrong.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        problem = "is missing" if file is None else "is text"
        raise ApiError(400, f"The field 'file' {problem}; expected an audio file.", param="file")
    if not file.size:
        raise ApiError(400, "The file is empty; expected audio.", param="file", code="invalid_audio")
    for name in form:
        if name.partition("[")[0] in ("known_speaker_names", "known_speaker_references"):
            raise ApiError(400, f"{name}: this server does not tell speakers apart.", param=name)
    response_format = cast("ResponseFormat", _one_of(form, "response_format", get_args(ResponseFormat)))
    _number(form, "temperature", 0.0, 1.0)
    granularities = _some_of(form, "timestamp_granularities", get_args(Granularity))
    include = _some_of(form, "include", ("logprobs",))
    stream = _boolean(form, "stream")
    for name, is_given, fitting in (
        ("timestamp_granularities", granularities, ("verbose_json",)),
        ("include", include, ("json",)),
        ("stream", stream, ("json", "text")),
    ):
        if is_given and response_format not in fitting:
            expected = " or ".join(fitting)
            raise ApiError(400, f"{name} needs response_format {expected}; got {response_format}.", param=name)
    keywords = tuple(dict.fromkeys(" ".join(text.split()) for text in _texts(form, "keywords") if text.strip()))
    if len(keywords) > MAX_KEYWORDS:
        raise ApiError(400, f"got {len(keywords)} keywords; expected at most {MAX_KEYWORDS}.", param="keywords")
    beam_size = _number(form, "x_beam_size", 1, MAX_BEAM_SIZE)
    nbest = _number(form, "x_nbest", 1, MAX_BEAM_SIZE)
    if nbest is not None and nbest > 1 and (stream or response_format != "json"):
        shape = "stream" if stream else response_format
        raise ApiError(400, f"x_nbest needs response_format json without stream; got {shape}.", param="x_nbest")
    return TranscriptionForm(
        file,
        _text(form, "model"),
        _text(form, "language"),
        keywords,
        response_format,
        cast("tuple[Granularity, ...]", granularities or ("segment",)),
        bool(include),
        stream,
        None if beam_size is None else int(beam_size),
        1 if nbest is None else int(nbest),
        # No paths: the server opens nothing that a client names.
        _one_of(form, "x_lm", ("own", "none")) == "own",
    )


def _texts(form: FormData, name: str) -> tuple[str, ...]:
    """Return all values of a list: ``name[]=…`` as OpenAI's clients send it, or ``name=…``."""
    values: Sequence[object] = [*form.getlist(f"{name}[]"), *form.getlist(name)]
    if not all(isinstance(value, str) for value in values):
        raise ApiError(400, f"The field {name!r} is a file; expected text.", param=name)
    return tuple(cast("Sequence[str]", values))


def _text(form: FormData, name: str) -> str:
    values = _texts(form, name)
    return values[-1].strip() if values else ""


def _one_of(form: FormData, name: str, known: Sequence[str]) -> str:
    """Return the value of a field, one of those that are known; the first of them where the form has none."""
    text = _text(form, name) or known[0]
    if text not in known:
        raise ApiError(400, f"{name} is {text!r}; expected {', '.join(known)}.", param=name)
    return text


def _some_of(form: FormData, name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return all values of a list, each of them known."""
    values = _texts(form, name)
    if wrong := [value for value in values if value not in known]:
        raise ApiError(400, f"{name}[] has {wrong[0]!r}; expected {', '.join(known)}.", param=name)
    return values


def _boolean(form: FormData, name: str) -> bool:
    value = _text(form, name).lower()
    if value not in ("", "true", "false", "1", "0"):
        raise ApiError(400, f"{name} is {value!r}; expected true or false.", param=name)
    return value in ("true", "1")


def _number(form: FormData, name: str, low: float, high: float) -> float | None:
    text = _text(form, name)
    if not text:
        return None
    kind = int if isinstance(low, int) else float
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise ApiError(400, f"{name} is {text!r}; expected a number from {low} to {high}.", param=name)
    return value
