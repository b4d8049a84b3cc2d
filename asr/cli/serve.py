"""``asr serve``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.bundle.shipped import DEFAULT_MODEL
from asr.errors import MissingExtraError


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ASR_MODEL",
            help="A bundle's directory, or the name of one that ships; or NAME=BUNDLE. Repeat it for several: the "
            "first is the default.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(envvar="ASR_HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="ASR_PORT", help="0 takes a free one.")] = 8000,
    vosk_port: Annotated[
        int | None, typer.Option(envvar="ASR_VOSK_PORT", help="A port for clients of vosk-server; 2700 is usual.")
    ] = None,
    wyoming_port: Annotated[
        int | None, typer.Option(envvar="ASR_WYOMING_PORT", help="A port for Home Assistant; 10300 is usual.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(envvar="ASR_API_KEY_FILE", help="A file of keys, one per line; clients give one.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", envvar="ASR_NO_AUTH", help="Let other machines in without a key.")
    ] = False,
    max_upload_mb: Annotated[float, typer.Option(envvar="ASR_MAX_UPLOAD_MB", help="Largest request, in MB.")] = 25.0,
    max_queue: Annotated[
        int, typer.Option(envvar="ASR_MAX_QUEUE", help="Requests taken at a time; one more is answered 429.")
    ] = 64,
    max_streams: Annotated[
        int, typer.Option(envvar="ASR_MAX_STREAMS", help="Clients listened to at a time, while they speak.")
    ] = 100,
    known_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ASR_KNOWN_HOST",
            help="A name by which a proxy calls the server; others than this machine's own are refused. Repeatable.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(envvar="ASR_CORS", help="An origin whose pages may call the server; * for any. Repeatable."),
    ] = None,
    aliases: Annotated[
        bool,
        typer.Option("--aliases", envvar="ASR_ALIASES", help="Let OpenAI's model names mean the default model."),
    ] = False,
    precision: Annotated[
        str, typer.Option(envvar="ASR_PRECISION", help="float32, or int8 for bundles that have it.")
    ] = "float32",
    threads: Annotated[
        int, typer.Option(envvar="ASR_THREADS", help="Threads of the CPU; 0: as many as there are cores.")
    ] = 0,
    log_json: Annotated[
        bool, typer.Option("--log-json", envvar="ASR_LOG_JSON", help="Write an access log of JSON lines to stderr.")
    ] = False,
) -> None:
    """Serve a model over HTTP: to clients of OpenAI's API, to other programs, and to a web page.

    asr serve

    then open http://127.0.0.1:8000, or

    curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@recording.wav
    """
    try:
        from asr.server.app import serve as run
        from asr.server.options import ServerOptions, parse_models, read_keys
    except ImportError as error:
        raise MissingExtraError(error.name or "starlette", "server", "asr serve") from None
    from asr.bundle.runtime import check_precision
    from asr.convert.opening import open_bundle

    models = parse_models(model or [DEFAULT_MODEL])
    checked = {name: check_precision(open_bundle(bundle), precision) for name, bundle in models.items()}
    options = ServerOptions(
        models=models,
        host=host,
        port=port,
        api_keys=read_keys(api_key_file) if api_key_file else (),
        no_auth=no_auth,
        max_upload_mb=max_upload_mb,
        max_queue=max_queue,
        max_streams=max_streams,
        vosk_port=vosk_port,
        wyoming_port=wyoming_port,
        known_hosts=tuple(name.lower() for name in known_host or ()),
        cors=tuple(cors or ()),
        aliases=aliases,
        precision=next(iter(checked.values())),
        threads=threads,
        log_json=log_json,
    )
    run(options, lambda address: print(f"asr: serving {', '.join(models)} on {address}", file=sys.stderr, flush=True))
