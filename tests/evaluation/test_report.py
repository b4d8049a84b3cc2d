"""The report: one file that holds everything, does what it says in a real browser, and asks nothing of a network."""

import html
import json
import re
import shutil
import subprocess
import tempfile
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="stores need the [data] extra")

from asr.audio import load_audio
from asr.bundle.runtime import OnnxRuntime
from asr.errors import UsageError
from asr.evaluation import report
from asr.evaluation.details import LEVELS, MAX_COLUMNS, Details, Recordings, picture, worst
from asr.evaluation.evaluate import evaluate
from asr.evaluation.report import Heading, render
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.store.store import AudioStore, FeatureStore
from asr.transcription.decoding import DecodingOptions, make_decoder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEADING = Heading("an4 on digits", [("decoder", "greedy <b>")])

# Sorts, searches, filters and opens as a user does, and leaves what it saw in the page.
SCRIPT = """
<script>
const seen = { violations: 0 };
document.addEventListener("securitypolicyviolation", () => { seen.violations += 1; });
const ids = () => [...document.querySelectorAll("#utterances tbody tr[data-id]")].map(row => row.dataset.id);
const press = name => document.querySelector(`#utterances th[data-sort=${name}] button`).click();
const pause = () => new Promise(done => setTimeout(done, 20));
const until = async test => { for (let i = 0; i < 200 && !test(); i++) await pause(); };
const type = text => {
  const search = document.getElementById("search");
  search.value = text;
  search.dispatchEvent(new Event("input"));
};
addEventListener("load", async () => {
  seen.start = ids();
  press("id"); seen.byId = ids();
  press("id"); seen.byIdBack = ids();
  press("wer"); seen.byRate = ids();
  seen.sorted = document.querySelector("th[data-sort=wer]").getAttribute("aria-sort");
  type("%QUERY%"); seen.searched = ids();
  type("");
  const confusion = document.querySelector(".confusions button");
  confusion.click();
  seen.confusion = [confusion.dataset.reference, confusion.dataset.hypothesis];
  seen.confused = ids();
  document.getElementById("clear").click();
  const toggle = document.querySelector("#utterances tbody [aria-expanded]");
  toggle.focus();
  seen.focused = document.activeElement === toggle;
  toggle.click();
  const canvas = document.querySelector("canvas");
  const sound = document.querySelector("audio");
  await until(() => canvas.dataset.painted && (!sound || sound.duration > 0));
  const [width, height] = [canvas.width, canvas.height];
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  seen.colours = new Set(Array.from({ length: width * height }, (_, i) => pixels.slice(4 * i, 4 * i + 3).join())).size;
  seen.size = [width, height];
  seen.seconds = sound ? sound.duration : null;
  seen.heard = [...document.querySelectorAll(".track[data-name=heard] > *")].map(word => word.textContent);
  seen.opened = document.querySelector("tr.open").dataset.id;
  seen.hash = location.hash;
  seen.loaded = performance.getEntriesByType("resource").map(entry => entry.name);
  document.body.append(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
});
</script>
"""


def browse(path, fragment=""):
    """Open a file in headless Chromium and return its document after all scripts."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={profile}", "--virtual-time-budget=20000",
            "--dump-dom", f"{path.as_uri()}{fragment}",
        ]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def evaluation(digits, bundle):
    store = AudioStore.open(digits / "audio" / "dev")
    runtime = OnnxRuntime(bundle, threads=1)
    result = evaluate(store, bundle, runtime, make_decoder(bundle, DecodingOptions()))
    return result, Details(store, bundle, runtime)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_sorts_searches_and_opens(evaluation, tmp_path):
    result, details = evaluation
    query = result.utterances[3].speaker
    page = render(HEADING, result, [details(index) for index in worst(result, 1)])
    path = tmp_path / "report.html"
    path.write_text(page.replace("</body>", SCRIPT.replace("%QUERY%", query.upper()) + "</body>"), encoding="utf-8")
    document = browse(path)
    seen = json.loads(html.unescape(re.findall(r'<pre id="seen">(.*?)</pre>', document)[0]))

    utterances = {utterance.id: utterance for utterance in result.utterances}
    errors = {name: utterance.words.errors for name, utterance in utterances.items()}
    rates = {name: utterance.words.rate for name, utterance in utterances.items()}
    in_order = list(utterances)
    assert seen["start"] == sorted(in_order, key=lambda name: -errors[name])
    assert seen["byId"] == sorted(in_order)
    assert seen["byIdBack"] == sorted(in_order, reverse=True)
    assert seen["byRate"] == sorted(in_order, key=lambda name: -rates[name])
    assert seen["sorted"] == "descending"
    assert seen["searched"] == [name for name in seen["byRate"] if query in utterances[name].speaker]
    assert 0 < len(seen["confused"]) < len(utterances)
    reference, hypothesis = seen["confusion"]
    for name in seen["confused"]:
        assert reference in utterances[name].reference.split()
        assert hypothesis in utterances[name].hypothesis.split()

    opened = utterances[seen["opened"]]
    assert opened is result.utterances[worst(result, 1)[0]]
    assert seen["focused"]
    assert seen["size"][1] == 80
    assert LEVELS // 2 < seen["colours"] <= LEVELS
    assert seen["seconds"] == pytest.approx(opened.duration_seconds, abs=0.06)
    assert seen["heard"] == opened.hypothesis.split()
    assert f"open={opened.id}" in seen["hash"]
    assert seen["loaded"] == []
    assert seen["violations"] == 0


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_an_address_brings_back_what_was_seen(evaluation, tmp_path):
    result, details = evaluation
    name = sorted(utterance.id for utterance in result.utterances)[2]
    index = [utterance.id for utterance in result.utterances].index(name)
    path = tmp_path / "report.html"
    path.write_text(render(HEADING, result, [details(index)]), encoding="utf-8")
    document = browse(path, f"#sort=id&order=ascending&open={name}")
    assert re.findall(r'<tr data-id="([^"]+)"', document) == sorted(u.id for u in result.utterances)
    assert document.count("<canvas") == 1
    assert document.index(f'<tr data-id="{name}" class="open"') < document.index("<canvas")


def test_the_page_loads_nothing_from_elsewhere(evaluation):
    result, details = evaluation
    page = render(HEADING, result, [details(0)])
    assert "default-src 'none'" in page
    assert not re.findall(
        r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"<script type=.application/json.*?</script>", "", page)
    )
    assert not re.findall(r"<(?:link|img|iframe)\b|@import|url\(|\bfetch\b|XMLHttpRequest|\bimport\b", page)
    assert "<!--" not in page


def test_texts_are_shown_and_not_run():
    hostile = "</script><script>alert(1)</script> <!--data--> <b>&amp;"
    utterances = (UtteranceResult.scored(hostile, hostile, "x"),)
    page = render(Heading(hostile, [(hostile, hostile)]), Evaluation(utterances))
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<b>&amp;" not in page
    rows = json.loads(re.findall(r'id="rows">(.*?)</script>', page, re.DOTALL)[0])
    assert rows[0]["id"] == hostile
    assert [step[0] for step in rows[0]["alignment"]] == hostile.split()


def test_references_without_words_have_no_interval():
    utterances = [UtteranceResult.scored(f"u{i}", "a b", "a" if i % 2 else "a b") for i in range(9)]
    silent = UtteranceResult.scored("silent", "", "a b c d e f")
    bars = re.findall(r'class="bar" title="([^"]*)"', render(HEADING, Evaluation((*utterances, silent))))
    # Of the two lengths of references, one has a rate.
    assert bars == re.findall(r'class="bar" title="([^"]*)"', render(HEADING, Evaluation(tuple(utterances))))
    assert len(bars) == 1


def test_large_sets_are_bounded(monkeypatch):
    monkeypatch.setattr(report, "MAX_UTTERANCES", 10)
    utterances = tuple(UtteranceResult.scored(f"u{i}", "a b", "a" if i % 3 else "a b") for i in range(60))
    page = render(HEADING, Evaluation(utterances))
    rows = json.loads(re.findall(r'id="rows">(.*?)</script>', page, re.DOTALL)[0])
    assert [row["id"] for row in rows] == [f"u{i}" for i in range(15) if i % 3]
    assert "The 10 of 60 utterances" in page


def test_details_hold_the_features_and_the_sound(evaluation, digits):
    _, details = evaluation
    store = AudioStore.open(digits / "audio" / "dev")
    detail = details(0)
    encoded = report._detail(detail)
    pixels = np.frombuffer(zlib.decompress(b64decode(encoded["picture"])), np.uint8)
    assert (pixels.reshape(encoded["bands"], encoded["columns"]) == detail.picture).all()
    assert " ".join(word.text for word in detail.reference_words) == store.texts[0]
    played = load_audio(detail.sound, 16_000).samples
    samples = store[0].samples.astype(np.float32) / 32768
    # MP3 is not exact: but it is the same sound, at the same time.
    assert len(played) == pytest.approx(len(samples), abs=1200)
    length = min(len(played), len(samples))
    assert np.corrcoef(played[:length], samples[:length])[0, 1] > 0.95


def test_recordings_are_found_by_source_stem_and_id(digits, bundle, tmp_path):
    store = FeatureStore.open(digits / "features" / "dev")
    (recording,) = [path for path in (digits / "cache").rglob(f"{store.ids[0]}.*") if path.suffix == ".opus"]
    root = recording
    for _ in Path(store.sources[0]).parts:
        root = root.parent
    assert Recordings(root).find(store.ids[0], store.sources[0]) == (recording, 0.0)
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(recording, flat)
    copy = flat / recording.name
    assert Recordings(flat).find("other", store.sources[0]) == (copy, 0.0)
    assert Recordings(flat).find("other", f"{store.sources[0]}#t=1.5,2") == (copy, 1.5)
    assert Recordings(flat).find(store.ids[0], "long.wav#t=7,9") == (copy, 0.0)
    assert Recordings(flat).find("other", "long.wav") is None
    assert Recordings(flat).find("other", f"{store.sources[0]} + b.wav") is None
    with pytest.raises(UsageError, match="no such folder"):
        Recordings(tmp_path / "none")
    runtime = OnnxRuntime(bundle, threads=1)
    found = Details(store, bundle, runtime, flat)
    assert found(0).sound
    assert not found(1).sound
    assert found(1).picture.shape[0] == 80


def test_a_picture_is_bounded_and_upright():
    features = np.zeros((4000, 5), np.float16)
    features[2000, 4] = 1
    levels = picture(features)
    assert levels.shape == (5, 1000)
    assert levels.shape[1] <= MAX_COLUMNS
    assert np.argwhere(levels).tolist() == [[0, 500]]
