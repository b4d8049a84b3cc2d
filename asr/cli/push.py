"""``asr push``."""

from typing import Annotated

import typer

from asr.cli import options
from asr.errors import UsageError


def push(
    model: options.ModelArgument,
    to: Annotated[str, typer.Argument(metavar="ORG/NAME[@BRANCH]", help="Where to, on the Hugging Face Hub.")],
    dataset: Annotated[
        str,
        typer.Option(
            help="The data set that the results were measured on, by its name on the Hub, for its leaderboard."
        ),
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Make a new model private.")] = False,
    message: Annotated[str, typer.Option(help="The commit message.")] = "Upload a model",
) -> None:
    """Upload a model to the Hugging Face Hub, with its card and its results: asr push exp/an4/bundle org/name.

    Log in first, with hf auth login, or set HF_TOKEN. Then asr transcribe --model org/name uses the model.
    """
    from asr.bundle.hub import HUB_NAME, HubName
    from asr.bundle.publish import push as push_bundle
    from asr.convert.opening import open_bundle

    match = HUB_NAME.fullmatch(to)
    if match is None:
        raise UsageError(f"{to!r}: expected ORG/NAME or ORG/NAME@BRANCH, a model on the Hugging Face Hub")
    name = HubName(match["repo"], match["revision"] or "")
    print(push_bundle(open_bundle(model), name, dataset=dataset, private=private, message=message))
