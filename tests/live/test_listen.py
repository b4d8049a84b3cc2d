"""``asr listen``: what a pipe gives is printed while it comes, and saved; Ctrl-C loses nothing that was said."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.cli.options import live_model
from asr.cli.printers import PlainPrinter
from asr.errors import AudioError
from asr.live import EndpointRules, Listener, Stable, transcript_of
from asr.live.stream import Stream
from asr.transcription.decoding import DecodingOptions

ROOT = Path(__file__).parent.parent.parent
RATE = 8000


@pytest.fixture(scope="module")
def samples():
    """Noise with pauses, of 16 bits."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.choice([0.0, 0.01, 0.1, 0.3], 60), RATE // 10)
    return (rng.standard_normal(len(level)).clip(-3, 3) * level * 32_767 / 3).astype(np.int16)


def expected(bundle, samples):
    listener = Listener(bundle, endpoint=EndpointRules())
    transcript = transcript_of(listener.push(samples) + listener.close())
    assert transcript.text
    return [segment.text for segment in transcript.segments]


def start(bundle, *options):
    command = [sys.executable, "-m", "asr", "listen", "--model", str(bundle.directory), *map(str, options)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def test_a_pipe_of_raw_samples_is_printed_and_saved(bundles, samples, tmp_path):
    bundle = bundles["ahead"]
    out, errors = start(bundle, "-", "--rate", RATE, "--save", tmp_path / "said").communicate(samples.tobytes(), 120)
    texts = expected(bundle, samples)
    assert (out.decode().splitlines(), errors.decode()) == (texts, "")
    sounds = sorted((tmp_path / "said").glob("*.wav"))
    assert len(sounds) == len(texts)
    for sound, text in zip(sounds, texts, strict=True):
        transcript = json.loads(sound.with_suffix(".json").read_text(encoding="utf-8"))
        heard, rate = soundfile.read(sound, dtype="int16")
        assert (transcript["text"], rate) == (text, RATE)
        assert len(heard) / rate == pytest.approx(transcript["duration"], abs=0.1)
        assert " --> " in sound.with_suffix(".srt").read_text(encoding="utf-8")
        # The sound is a stretch of what was sent.
        assert heard.tobytes() in samples.tobytes()


def test_interrupted_it_ends_with_what_was_said(bundles, samples):
    process = start(bundles["one"], "-", "--rate", RATE, "--json")
    try:
        process.stdin.write(samples[: 2 * RATE].tobytes())
        process.stdin.flush()
        # Something is printed while the pipe is open.
        first = json.loads(process.stdout.readline())
        assert first["type"] in ("partial", "stable")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    last = json.loads(rest.splitlines()[-1])
    assert (process.returncode, errors, last["type"], last["reason"]) == (0, b"", "utterance", "flush")
    assert last["text"]


@pytest.mark.parametrize("name", ["ahead", "characters"])
def test_each_utterance_is_a_line_also_one_that_fails(bundles, samples, capsys, name):
    listener = Listener(bundles[name], endpoint=EndpointRules())
    events = listener.push(samples) + listener.close()
    with PlainPrinter() as printer:
        printer.show(events)
    assert capsys.readouterr().out.splitlines() == expected(bundles[name], samples)
    stable = next(event for event in events if isinstance(event, Stable))
    with suppress(AudioError), PlainPrinter() as printer:
        printer.show([stable])
        raise AudioError("the microphone is gone")
    assert capsys.readouterr().out == " ".join(word.text for word in stable.words) + "\n"


@pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")
def test_words_are_on_the_screen_of_a_terminal(bundles, samples, tmp_path):
    bundle = bundles["ahead"]
    soundfile.write(tmp_path / "said.wav", samples, RATE)
    socket = ["tmux", "-L", f"asr-test-{os.getpid()}"]
    listening = f"{sys.executable} -m asr listen - --model {bundle.directory} < {tmp_path}/said.wav"
    command = f"cd {ROOT}; {listening}; echo ended; sleep 60"
    subprocess.run([*socket, "new-session", "-d", "-x", "150", "-y", "50", command], check=True)
    try:
        for _ in range(600):
            shown = subprocess.run([*socket, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
            if "ended" in shown:
                break
            time.sleep(0.1)
    finally:
        subprocess.run([*socket, "kill-server"], check=True)
    assert [line.rstrip() for line in shown.splitlines() if line.strip()] == [*expected(bundle, samples), "ended"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-"], "for raw samples give their rate"),
        (["-", "--format", "f32le"], "--rate is missing"),
        (["--rate", "8000"], "give - too"),
        (["-", "--device", "3"], "--device is for the microphone"),
        (["said.wav"], "asr transcribe --streaming"),
        (["-", "--rate", "3"], "sample rate of 3 Hz"),
    ],
)
def test_what_cannot_be_meant_is_explained(bundles, options, message):
    process = start(bundles["one"], *options)
    _, errors = process.communicate(b"\0" * 100, 60)
    assert process.returncode in (1, 2)
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


def test_a_file_goes_by_the_same_path(bundles, samples, tmp_path):
    path = tmp_path / "said.wav"
    soundfile.write(path, samples, RATE)
    command = [sys.executable, "-m", "asr", "transcribe", "--streaming", "--model", bundles["ahead"].directory, path]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == " ".join(expected(bundles["ahead"], samples)).split()
    assert "words stable: " in ran.stderr
    assert "× real time" in ran.stderr
    refused = subprocess.run([*command, "--jobs", "2"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "leave out --jobs" in refused.stderr


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_decoder_has_run_before_sound_comes(bundles, monkeypatch, name):
    decoded: list[int] = []

    def hear(_stream: Stream, chunks: list[Any]) -> list[Any]:
        decoded.append(len(chunks))
        return []

    monkeypatch.setattr(Stream, "hear", hear)
    live_model(str(bundles[name].directory), DecodingOptions(), context=2.0)
    assert decoded
