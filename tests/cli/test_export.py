"""``asr export`` and ``asr info`` as a user meets them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parent.parent.parent


def asr(*arguments, status=0):
    command = [sys.executable, "-c", "from asr.cli import main; main()", *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr if status else ran.stdout


def test_an_exported_folder_transcribes_as_the_model_does(tmp_path):
    pytest.importorskip("onnx", reason="quantising needs the [train] extra")
    folder = tmp_path / "hub"
    printed = asr("export", "an4", "--format", "huggingface", "--precision", "int8", "--out", folder)
    assert {Path(line.split()[-1]).name for line in printed.splitlines()} == {p.name for p in folder.iterdir()}
    noise = np.random.default_rng(1).standard_normal(16_000)
    soundfile.write(tmp_path / "speech.wav", 0.2 * np.sin(np.cumsum(0.1 + 0.02 * noise)), 16_000)
    texts = [asr("transcribe", "--model", model, tmp_path / "speech.wav") for model in ("an4", folder)]
    assert texts[0] == texts[1]
    assert json.loads(asr("info", folder, "--json"))["precisions"] == ["float32", "int8"]
    assert "holds a model already" in asr("export", "an4", "--format", "huggingface", "--out", folder, status=2)


def test_wrong_formats_and_precisions_are_told(tmp_path):
    out = tmp_path / "out"
    assert "did you mean 'onnx'" in asr("export", "an4", "--format", "onx", "--out", out, status=2)
    message = asr("export", "an4", "--format", "onnx", "--precision", "float16", "--out", out, status=2)
    assert "'float16' is not one of 'float32', 'int8'" in message
    assert not out.exists()


def test_info_without_a_model_lists_those_that_ship():
    assert "an4" in asr("info")
    listed = json.loads(asr("info", "--json"))
    assert "an4" in [entry["name"] for entry in listed]


def test_info_tells_programs_what_it_tells_people():
    facts, text = json.loads(asr("info", "an4", "--json")), asr("info", "an4")
    assert f"{facts['parameters'] / 1e6:.1f} M parameters" in text
    sizes = {path.name: path.stat().st_size for path in Path(facts["directory"]).iterdir()}
    assert facts["files"] == sizes
    for row in facts["results"]:
        assert f"{row['wer']:.2f} % ({row['low']:.1f}–{row['high']:.1f})" in text
    for value in (facts["licence"], facts["dataset"], facts["tokens"]["alphabet"]):
        assert value in text


def test_the_parameters_are_those_of_the_network():
    torch = pytest.importorskip("torch", reason="counts in torch")
    from asr.bundle.bundle import Bundle
    from asr.bundle.facts import num_parameters
    from asr.model import AcousticModel

    bundle = Bundle.load("an4")
    with torch.device("meta"):
        model = AcousticModel(bundle.model, bundle.features.n_mels, len(bundle.tokenizer))
    assert num_parameters(bundle) == sum(parameter.numel() for parameter in model.parameters())
