"""The page in a real browser: a file, and a microphone that plays one."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the [server] extra")
sync = pytest.importorskip("websockets.sync.client", reason="needs websockets")

import asr  # noqa: E402

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


class Page:
    """A page of a headless browser, over its debugging protocol."""

    def __init__(self, debugger: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{debugger}/json/new", method="PUT"), timeout=10) as answer:
            url = json.load(answer)["webSocketDebuggerUrl"]
        self._connection = sync.connect(url, max_size=None)
        self._socket = self._connection.__enter__()
        self._count = 0

    def close(self) -> None:
        self._connection.__exit__(None, None, None)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=20))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def run(self, code: str) -> Any:
        result = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, code: str, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := self.run(code)):
            assert time.monotonic() < deadline, f"{code}: {self.run('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def pictures(self, name: str) -> None:
        """Take pictures for people to look at, into the folder ASR_PICTURES, if it is set."""
        if folder := os.environ.get("ASR_PICTURES"):
            for width in (1280, 390):
                for scheme in ("light", "dark"):
                    self.picture(Path(folder) / f"{name}_{width}_{scheme}.png", width, scheme)

    def picture(self, path: Path, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def running(command: list[str]) -> Iterator[Iterator[str]]:
    """Run a program while its error stream is read; it ends with the test, however that ends."""
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        try:
            yield process.stderr
        finally:
            # A browser's helpers keep its error stream open after it has gone.
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, streaming_bundle: Path) -> Iterator[Page]:
    profile = tmp_path_factory.mktemp("profile")
    serve = [
        sys.executable,
        "-m",
        "asr",
        "serve",
        "--model",
        "an4",
        "--model",
        f"live={streaming_bundle}",
        "--port",
        "0",
    ]
    browse = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        "--remote-allow-origins=*", f"--user-data-dir={profile}", "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={RECORDING}%noloop", "about:blank",
    ]  # fmt: skip
    with running(serve) as server, running(browse) as browser, ExitStack() as stack:
        address = next(server).split()[-1]
        line = next(line for line in browser if "DevTools listening" in line)
        made = Page(f"http://{line.split('//')[1].split('/')[0]}")
        stack.callback(made.close)
        made.call("Page.enable")
        made.call("Page.navigate", url=address)
        made.wait_for("document.querySelector('#model option')?.value")
        yield made


def test_a_file_is_shown_word_by_word(page):
    transcript = asr.load("an4", threads=1).transcribe(RECORDING)
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    field = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=field, files=[str(RECORDING)])
    text = page.wait_for("document.querySelector('.result .words')?.innerText")
    assert text.split() == [word.text for word in transcript.words]
    page.pictures("page")


def record(page: Page) -> None:
    page.run("document.querySelector('#record').click()")
    page.wait_for("document.querySelector('#record').getAttribute('aria-pressed') === 'true'")


def test_words_appear_while_they_are_said(page):
    page.run("document.querySelector('#model').value = 'live'")
    record(page)
    assert page.wait_for("document.querySelector('#live').innerText.trim()")
    page.pictures("live")
    page.run("document.querySelector('#record').click()")
    page.wait_for("document.querySelector('.result h2')?.innerText.startsWith('recording')")
    assert page.run("document.querySelector('#live').innerText.trim()") == ""
    page.run("document.querySelector('#results').replaceChildren()")
    page.run("document.querySelector('#model').value = 'an4'")


def test_a_connection_that_breaks_is_told_and_the_recording_goes_on(page):
    page.run("""
        window.RealSocket = WebSocket;
        window.WebSocket = class extends RealSocket { constructor(...all) { super(...all); window.latest = this; } };
        document.querySelector('#model').value = 'live';
    """)
    record(page)
    page.wait_for("window.latest?.readyState === 1")
    # As the server or the network would: the page's own end of it is not what closes it.
    page.run("window.latest.close(4000, 'gone')")
    assert "gone" in page.wait_for("document.querySelector('#status.error')?.innerText")
    assert page.run("document.querySelector('#live').innerText.trim()") == ""
    page.run("document.querySelector('#record').click()")
    page.wait_for("document.querySelector('.result h2')?.innerText.startsWith('recording')")
    # A server that refuses the connection.
    page.run("window.WebSocket = class extends RealSocket { constructor() { super(`ws://${location.host}/none`); } }")
    record(page)
    assert "cannot be shown" in page.wait_for("document.querySelector('#status.error')?.innerText")
    page.run("document.querySelector('details').open = true")
    page.pictures("error")
    page.run("document.querySelector('details').open = false")
    page.run("document.querySelector('#record').click()")
    page.wait_for("document.querySelectorAll('.result h2').length === 2")
    page.run("""
        window.WebSocket = RealSocket;
        document.querySelector('#results').replaceChildren();
        document.querySelector('#model').value = 'an4';
    """)


def test_a_recording_is_transcribed(page):
    record(page)
    time.sleep(2.0)
    page.run("document.querySelector('#record').click()")
    title = page.wait_for("document.querySelector('.result h2')?.innerText.startsWith('recording') && 'there'")
    assert title == "there"
    words = page.run("document.querySelector('.result .words').innerText").split()
    known = {word.text for word in asr.load("an4", threads=1).transcribe(RECORDING).words}
    assert known & set(words), words
