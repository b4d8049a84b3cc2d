"""Models of the Hugging Face Hub, by its real client and a small hub on 127.0.0.1."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

huggingface_hub = pytest.importorskip("huggingface_hub", reason="models of the Hub need the [hub] extra")

from huggingface_hub import constants  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import asr  # noqa: E402
from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.hub import HubName, hub_name  # noqa: E402
from asr.bundle.publish import push  # noqa: E402
from asr.bundle.shipped import SHIPPED  # noqa: E402
from asr.cli import app  # noqa: E402
from asr.convert.convert import convert  # noqa: E402
from asr.convert.opening import open_bundle  # noqa: E402
from asr.errors import AsrError, ModelError, UsageError  # noqa: E402
from tests.local_hub import TOKEN  # noqa: E402

AN4 = SHIPPED / "an4"


@pytest.fixture
def small(tmp_path):
    """Return a bundle's folder without what is large and optional."""
    folder = tmp_path / "an4"
    shutil.copytree(AN4, folder, ignore=shutil.ignore_patterns("model.int8.onnx"))
    return folder


def refused(model, message, kind=AsrError):
    with pytest.raises(kind, match=message) as caught:
        open_bundle(model)
    assert "\n" not in str(caught.value)


def test_a_bundle_is_downloaded_once_and_is_the_same(hub, small, monkeypatch):
    hub.add("org/an4", small)
    samples = Path(__file__).parent.parent.parent / "data_prep" / "digits" / "example.wav"
    transcriber = asr.load("org/an4", threads=1)
    assert {path.name: path.read_bytes() for path in transcriber.bundle.files} == {
        path.name: path.read_bytes() for path in Bundle.load(small).files
    }
    assert transcriber.transcribe(samples) == asr.load(small, threads=1).transcribe(samples)
    # Then nothing is asked, whether there is a network or not.
    hub.requests.clear()
    assert open_bundle("org/an4").directory == transcriber.bundle.directory
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_bundle("org/an4@main").directory == transcriber.bundle.directory
    refused("org/other", "is not in the cache, and HF_HUB_OFFLINE is set", ModelError)
    assert hub.requests == []


def test_a_model_that_changed_is_taken_where_a_branch_is_asked_for(hub, small):
    model = hub.add("org/an4", small)
    first = model.branches["main"]
    assert open_bundle("org/an4").directory.name == first
    config = json.loads((small / "config.json").read_text(encoding="utf-8"))
    (small / "config.json").write_text(json.dumps(config | {"description": "a newer one"}), encoding="utf-8")
    second = hub.add("org/an4", small).branches["main"]
    assert open_bundle("org/an4").directory.name == first
    assert open_bundle("org/an4@main").description == "a newer one"
    assert open_bundle("org/an4").directory.name == second
    assert open_bundle(f"org/an4@{first}").directory.name == first
    refused("org/an4@v9", "model org/an4 has no revision 'v9'", UsageError)


def test_a_download_that_broke_off_goes_on(hub, small, monkeypatch):
    hub.add("org/an4", small)
    monkeypatch.setattr("time.sleep", lambda _: None)
    # The client itself tries six times.
    hub.cut_after["model.safetensors"] = [1_000_000] * 6
    refused("org/an4", "the connection broke .*try again: what was downloaded is kept", ModelError)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("org/an4", "HF_HUB_OFFLINE", ModelError)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.cut_after.clear()
    assert open_bundle("org/an4").weights().keys() == Bundle.load(small).weights().keys()


def test_what_cannot_be_had_is_one_line(hub, small, tmp_path):
    refused("org/nothing", "'org/nothing' is neither a folder here nor a public model on http.*HF_TOKEN", UsageError)
    hub.add("org/gated", small).access = "gated"
    refused("org/gated", "needs you to accept its terms: do so at http.*/org/gated, and hf auth", ModelError)
    hub.add("org/forbidden", small).access = "forbidden"
    refused("org/forbidden", "does not allow this .status 403", ModelError)
    hub.add("org/private", small).access = "private"
    refused("org/private", "if it is private: hf auth login", UsageError)
    for name, files, message in (
        ("org/pictures", {"README.md": b"x", "cat.png": b"x"}, "is no model that is known here"),
        ("org/nemo", {"a.nemo": b"x"}, r"of a\.nemo: export it with NeMo"),
        ("org/evil", {"config.json": b"{}", "../../evil": b"x"}, r"lists a file '\.\./\.\./evil'"),
        ("org/list", {"config.json": b"[]"}, r"its config\.json is no object"),
        ("org/text", {"config.json": b"so"}, r"config\.json: is not JSON"),
        (
            "org/pickled",
            {"config.json": b'{"architectures": ["Wav2Vec2ForCTC"]}', "pytorch_model.bin": b"x"},
            "pickled",
        ),
        (
            "org/whisper",
            {"config.json": b'{"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}'},
            "is WhisperForConditionalGeneration, an attention model; expected a CTC model",
        ),
        ("org/rnnt", {"encoder.onnx": b"x", "decoder_joint.onnx": b"x"}, "a transducer or an attention model"),
        ("org/damaged", {"config.json": b'{"format_version": 2, "graph": 3}'}, "has no 'front_end'"),
    ):
        hub.models[name] = hub.models.pop(name, type(hub.models["org/gated"])())
        hub.models[name].commit(files)
        refused(name, message, ModelError)
        # Nothing but the configuration was downloaded to find that out.
        assert not [line for line in hub.requests if line.startswith(f"GET /{name}/") and "config.json" not in line]
    assert not (tmp_path / "evil").exists()
    hub.models.clear()
    refused("org/damaged", "neither a folder here", UsageError)


def test_only_what_can_be_no_path_is_a_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name("org/name") == HubName("org/name")
    assert hub_name("org/name@refs/pr/1") == HubName("org/name", "refs/pr/1")
    for path in ("an4", "./org/name", "/org/name", "a/b/c", "org/", "org/../name", tmp_path, "C:\\org/name", "-o/name"):
        assert hub_name(path) is None
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert hub_name("org/name") is None


def test_a_bundle_is_pushed_with_its_card_and_comes_back(hub, small, monkeypatch):
    bundle = Bundle.load(small)
    with pytest.raises(ModelError, match=r"does not allow this .status 401.*hf auth login"):
        push(bundle, HubName("me/an4"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(UsageError, match="expected its name on the Hub"):
        push(bundle, HubName("me/an4"), dataset="an4")
    url = push(bundle, HubName("me/an4"), dataset="cmu/an4", private=True)
    model = hub.models["me/an4"]
    assert url == f"{hub.url}/me/an4/commit/{model.branches['main']}"
    assert model.access == "private"
    files = model.commits[model.branches["main"]]
    card = huggingface_hub.ModelCard(files["README.md"].decode())
    assert card.data.library_name == "ctc-asr"
    assert card.data.eval_results
    yaml = pytest.importorskip("yaml")
    entries = huggingface_hub.parse_eval_result_entries(yaml.safe_load(files[".eval_results/cmu--an4.yaml"]))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("cmu/an4", row["split"], round(row["wer"], 2)) for row in bundle.results if row["decoder"] != "greedy"
    ]
    assert open_bundle("me/an4").results == bundle.results
    # A language model that the new version has not does not stay.
    (small / "lm.bin").unlink()
    push(Bundle.load(small), HubName("me/an4"))
    assert "lm.bin" in files
    assert "lm.bin" not in model.commits[model.branches["main"]]


def test_commands_know_the_models_of_the_hub(hub, small, tmp_path):
    hub.add("org/an4", small)
    shown = CliRunner().invoke(app, ["info", "org/an4", "--json"])
    assert json.loads(shown.output)["name"] == "an4"
    made = CliRunner().invoke(app, ["convert", "org/an4", "--out", str(tmp_path / "x")])
    assert isinstance(made.exception, UsageError)
    assert "is a bundle already" in str(made.exception)
    wrong = CliRunner().invoke(app, ["push", "an4", "nonsense"])
    assert "expected ORG/NAME" in str(wrong.exception)


def test_the_endpoint_and_the_cache_are_those_of_the_environment(hub, small, tmp_path, monkeypatch):
    hub.add("org/an4", small)
    for name, value in (("HF_ENDPOINT", hub.url), ("HF_HOME", str(tmp_path / "home"))):
        monkeypatch.setenv(name, value)
    code = "import sys; from asr.cli import main; sys.argv = ['asr', 'info', 'org/an4']; main()"
    root = Path(__file__).parent.parent.parent
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{tmp_path / 'home' / 'assets'}" in shown.stdout


def test_other_toolkits_models_are_converted_on_the_way(hub, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the graph is made with onnx")
    from tests.convert.test_onnx_folder import noise, onnx_asr_folder

    source = onnx_asr_folder(tmp_path / "source", external=True)
    (source / "pytorch_model.bin").write_bytes(b"not asked for")
    commit = hub.add("org/net", source, license="cc-by-4.0", language=["de"]).branches["main"]
    bundle = asr.load("org/net", threads=1).bundle
    assert (bundle.name, bundle.licence, bundle.language) == ("net", "cc-by-4.0", "de")
    assert bundle.origin == f"org/net@{commit}"
    assert not [line for line in hub.requests if "pytorch_model" in line]
    here = convert(source, tmp_path / "here")
    samples = noise(1.5)
    for name in ("org/net", f"org/net@{commit}"):
        got = asr.load(name, threads=1).log_probs(samples)
        np.testing.assert_array_equal(got, asr.load(here, threads=1).log_probs(samples))
    # No second copy of the weights, where there are hard links.
    assert (bundle.directory / "net.data").stat().st_nlink > 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_bundle("org/net").directory == bundle.directory
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    made = convert("org/net", tmp_path / "made", name="mine")
    assert (made.name, made.licence, made.origin) == ("mine", "cc-by-4.0", f"org/net@{commit}")
    # Weights that are not there are told as they would be of a folder.
    (source / "net.data").unlink()
    hub.add("org/net", source)
    refused("org/net@main", r"its weights are in net\.data, which is not beside it", ModelError)
    assert open_bundle("org/net").directory == bundle.directory
