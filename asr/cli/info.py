"""``asr info``."""

import json
from typing import Annotated, Any

import typer


def info(
    model: Annotated[
        str,
        typer.Argument(help="A bundle's directory or a shipped model; by default lists those that ship."),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, or a list of the models that ship.")
    ] = False,
) -> None:
    """Print what a model is, what it recognises, and its error rates."""
    from asr.bundle.facts import model_facts
    from asr.bundle.shipped import SHIPPED, shipped_bundles
    from asr.convert.opening import open_bundle

    if not model:
        shipped = shipped_bundles()
        if as_json:
            rows = [{"name": name, "description": text} for name, text in shipped.items()]
            print(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            for name, text in shipped.items():
                print(f"{name:8}  {text}")
            print(f"\nasr info NAME tells more. They are in {SHIPPED}; give the path of a folder for any other model.")
        return
    facts = model_facts(open_bundle(model))
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    lines = _lines(facts)
    width = max(map(len, lines))
    for key, value in lines.items():
        print(f"{key:{width}}  {value}")


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    """Return the facts in words, by their headings."""
    features, network, tokens, files = (facts[key] for key in ("features", "network", "tokens", "files"))
    lm = facts["language_model"]
    lines = {
        "name": facts["name"],
        "what it knows": facts["description"],
        "trained on": f"{facts['dataset']}, language {facts['language']}"
        f"{', from ' + facts['origin'] if facts['origin'] else ''}",
        "licence": facts["licence"],
        "features": (
            f"{features['n_mels']} log-mel bands, {features['sample_rate']} Hz, a frame every {_hop_ms(features):g} ms"
            if "n_mels" in features
            else f"the waveform at {features['sample_rate']} Hz"
        ),
        "network": f"{_network(network, facts['parameters'])}, an output every {1000 * facts['frame_seconds']:g} ms",
        "longest piece": f"{facts['max_seconds']:g} s" if facts["max_seconds"] else "any",
        "tokens": f"{tokens['count']} {tokens['kind']}: {tokens['alphabet']!r}"
        f"{', matched to language models by the profile ' + facts['text_profile'] if facts['text_profile'] else ''}",
        "precisions": ", ".join(facts["precisions"]),
        "language model": f"{lm['file']}{_weights(lm['decoding'])}" if lm else "none",
        "files": f"{sum(files.values()) / 1e6:.1f} MB in {facts['directory']}",
    }
    lines |= {f"  {name}": f"{size:>12,} bytes" for name, size in files.items()}
    for row in facts["results"]:
        lines[f"WER, {row['split']}, {row['decoder']}"] = (
            f"{row['wer']:.2f} % ({row['low']:.1f}–{row['high']:.1f}), {row['words']} words"
        )
    return lines


def _hop_ms(features: dict[str, Any]) -> float:
    """Return the milliseconds from one frame to the next, of our own features or another toolkit's."""
    if "hop_seconds" in features:
        return 1000 * float(features["hop_seconds"])
    return 1000 * float(features["hop_samples"] * features["stack_hop"] / features["sample_rate"])


def _network(network: dict[str, Any] | None, parameters: int) -> str:
    if network is None:
        return "trained elsewhere"
    both = ", both directions" if network["bidirectional"] else ""
    layers = f"{network['num_layers']} × {network['hidden_size']} {network['cell']}"
    return f"{layers}{both}, {parameters / 1e6:.1f} M parameters"


def _weights(decoding: dict[str, float]) -> str:
    return "".join(f", {name} {value:g}" for name, value in decoding.items())
