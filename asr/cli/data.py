"""``asr data``: what can be done with a prepared store."""

from pathlib import Path
from typing import Annotated

import typer

from asr.errors import UsageError, did_you_mean

FORMATS = ("nemo", "lhotse")

data_app = typer.Typer(help="Look into, verify and export prepared stores.", no_args_is_help=True)


@data_app.command()
def show(store: Annotated[Path, typer.Argument(help="A store: data/an4/train.")]) -> None:
    """Print what is in a store."""
    from asr.store.store import open_store

    opened = open_store(store)
    header = opened.header
    speakers = len(set(opened.speakers) - {""})
    print(f"{header.title} ({header.corpus} {header.version}), split {header.split}, {header.licence}")
    print(f"{len(opened):,} utterances, {opened.hours:.2f} h, {speakers} speakers, {header.kind}")
    print(f"{opened.config.sample_rate} Hz, {opened.config.n_mels} mel bands, {len(header.shards)} shards")


@data_app.command()
def verify(stores: Annotated[list[Path], typer.Argument(help="Stores: data/an4/train data/an4/test.")]) -> None:
    """Read every shard and compare it with its checksum."""
    from asr.store.store import open_store

    for store in stores:
        opened = open_store(store)
        opened.verify()
        print(f"{store}: {len(opened.header.shards)} shards are what was written")


@data_app.command()
def export(
    store: Annotated[Path, typer.Argument(help="A store: data/an4/train.")],
    out: Annotated[Path, typer.Argument(help="train.jsonl, or cuts.jsonl.gz for lhotse.")],
    root: Annotated[Path, typer.Option(help="The folder of the extracted corpus.")] = Path(),
    format: Annotated[str, typer.Option(help="nemo: a manifest; lhotse: cuts.")] = "nemo",
) -> None:
    """Write a store's utterances for another program; of an audio store, the waveforms too."""
    from asr.store.export import export_lhotse, export_nemo
    from asr.store.store import open_store

    if format not in FORMATS:
        raise UsageError(f"--format {format}: expected one of {', '.join(FORMATS)}{did_you_mean(format, FORMATS)}")
    written = {"nemo": export_nemo, "lhotse": export_lhotse}[format](open_store(store), out, root)
    print(f"{out}: {written.utterances:,} utterances")
    if written.left_out:
        print(
            f"left out {written.left_out:,} utterances that are not plain parts of a recording: a store prepared with "
            "--store audio has them"
        )
