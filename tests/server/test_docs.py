"""The examples of docs/server.md run as they stand, against a server at another port."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("starlette", reason="needs the [server] extra")
pytest.importorskip("openai", reason="needs the openai client")

import asr

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager")  # By OpenAI's client.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_guides_clients_hear_what_transcribe_hears(capsys):
    codes = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "server.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(codes) == 2
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    command = [sys.executable, "-m", "asr", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        address = process.stderr.readline().split()[-1]
        try:
            for code in codes:
                changed = code.replace("http://127.0.0.1:8000", address).replace("24000", str(rate))
                exec(changed.replace("call.wav", str(RECORDING)), {"samples": samples.tobytes()})
        finally:
            process.terminate()
            process.wait(20)
    assert capsys.readouterr().out.splitlines() == [asr.load(threads=1).transcribe(RECORDING).text] * 2
