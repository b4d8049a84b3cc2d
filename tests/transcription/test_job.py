"""Many recordings: what is wrong with one is told, the others' transcripts are the same however the job is run."""

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.cli import app
from asr.errors import AsrError, UsageError
from asr.transcription.inputs import Outputs, Recording, find_recordings
from asr.transcription.transcribe import Transcriber

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "data_prep" / "digits" / "example.wav"


def command(*arguments):
    code = "from asr.cli import main; main()"
    return [sys.executable, "-c", code, "transcribe", "--model", "an4", *map(str, arguments)]


def asr(*arguments, status=0, stdin=None):
    """Run ``asr transcribe`` here, and return its output and its error output."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin or b"")))
        command = ["transcribe", "--model", "an4", "--threads", "1", *map(str, arguments)]
        assert (app(command, standalone_mode=False) or 0) == status, errors.getvalue()
    return out.getvalue(), errors.getvalue()


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Nine recordings of different lengths, and nine files that are none."""
    folder = tmp_path_factory.mktemp("recordings")
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    for index in range(9):
        soundfile.write(folder / f"good{index}.wav", speech[: (index + 1) * len(speech) // 9], rate)
    whole = EXAMPLE.read_bytes()
    soundfile.write(folder / "nan.wav", np.full(100, np.nan, np.float32), rate, subtype="FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(0), rate)
    soundfile.write(folder / "flac.flac", speech, rate)
    flac = (folder / "flac.flac").read_bytes()
    for name, content in {
        "empty.wav": b"",
        "text.wav": b"this is no audio\n" * 50,
        "header.wav": whole[:30],
        "rate.wav": whole[:24] + bytes(4) + whole[28:],
        "random.mp3": np.random.default_rng(1).bytes(3000),
        "flac.flac": flac[:60] + bytes(len(flac) - 60),
        "video.mp4": b"\0\0\0\x20ftypmp42" + bytes(3000),
    }.items():
        (folder / name).write_bytes(content)
    return folder


BAD = ["empty.wav", "flac.flac", "header.wav", "nan.wav", "none.wav", "random.mp3", "rate.wav", "text.wav", "video.mp4"]


@pytest.fixture(scope="module")
def transcripts(recordings, tmp_path_factory):
    """The folder that a job in one process makes of the recordings."""
    out = tmp_path_factory.mktemp("transcripts")
    ran = subprocess.run(
        command("--threads", 1, recordings, "-o", out, "-f", "txt,json,srt"), cwd=ROOT, stderr=subprocess.PIPE
    )
    errors = ran.stderr.decode()
    assert ran.returncode == 1
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("asr: ")]
    assert len(lines) == 10
    for name in BAD:
        assert sum(str(recordings / name) in line for line in lines) == 1, (name, errors)
    assert lines[-1].startswith("asr: 9 written, 9 failed")
    return out


def test_what_is_bad_is_named_and_the_rest_is_transcribed(recordings, transcripts):
    expected = {f"good{index}.{suffix}" for index in range(9) for suffix in ("txt", "json", "srt")}
    assert set(contents(transcripts)) == expected
    transcriber = Transcriber("an4", threads=1)
    for index in (0, 8):
        alone = transcriber.transcribe(recordings / f"good{index}.wav")
        assert json.loads((transcripts / f"good{index}.json").read_text())["text"] == alone.text
    assert alone.text


def test_several_processes_make_the_same_folder(recordings, transcripts, tmp_path):
    asr(recordings, "-o", tmp_path / "new" / "folder", "-f", "all", "--jobs", 2, status=1)
    made = contents(tmp_path / "new" / "folder")
    assert {name: made[name] for name in contents(transcripts)} == contents(transcripts)
    assert len(made) == 9 * 7


def test_a_job_that_was_killed_goes_on_to_the_same_folder(recordings, transcripts, tmp_path):
    arguments = [recordings, "-o", tmp_path, "-f", "txt,json,srt"]
    process = subprocess.Popen(command(*arguments, "--jobs", 2), cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.glob("*.txt")):
        time.sleep(0.005)
    process.kill()
    process.wait()
    left = {name: content for name, content in contents(tmp_path).items() if not name.endswith(".tmp")}
    assert left.items() <= contents(transcripts).items()
    # What a process that dies while it writes leaves behind, and what is none of ours.
    (tmp_path / ".good3.txt.0123abcd.tmp").write_text("one t")
    (tmp_path / ".notes.txt.0123abcd.tmp").write_text("mine")
    asr(*arguments, "--skip-existing", status=1)
    made = contents(tmp_path)
    assert made.pop(".notes.txt.0123abcd.tmp") == b"mine"
    assert made == contents(transcripts)
    errors = asr(*arguments, "--skip-existing", status=1)[1]
    assert "0 written, 9 skipped, 9 failed" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_whole_files_only(recordings, transcripts, tmp_path, jobs):
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    soundfile.write(tmp_path / "zz.wav", np.tile(speech, 2000), rate)
    out = tmp_path / "out"
    arguments = [recordings / "good5.wav", tmp_path / "zz.wav", "-o", out, "-f", "txt,json,srt", "--jobs", jobs]
    process = subprocess.Popen(command("--threads", 1, *arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not (out / "good5.srt").is_file():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert errors == "asr: interrupted\n"
    made = contents(out)
    assert made.items() <= contents(transcripts).items()
    assert made


def test_inputs_of_one_name_are_refused_and_nothing_is_written(recordings, tmp_path):
    soundfile.write(tmp_path / "good1.flac", np.zeros(8000), 8000)
    with pytest.raises(UsageError, match=r"good1\.wav and .*good1\.flac → .*out.good1"):
        asr(recordings / "good1.wav", tmp_path / "good1.flac", "-o", tmp_path / "out", "-f", "txt")
    assert not (tmp_path / "out").exists()
    # The same file twice is one input.
    asr(recordings / "good1.wav", recordings / "." / "good1.wav", "-o", tmp_path / "out", "-f", "txt")
    assert list(contents(tmp_path / "out")) == ["good1.txt"]


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(recordings, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(UsageError, match=f"{folder} cannot be written to"):
            asr(recordings / "good1.wav", "-o", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "txt", "--json"], "--json is for what is printed"),
        (["-o", ".", "--word-timestamps"], "--word-timestamps is for what is printed"),
        (["--json", "--word-timestamps"], "leave out --word-timestamps"),
        (["--skip-existing"], "--skip-existing is for files"),
        (["--nbest", "3"], "--nbest is for JSON"),
        (["--beam-size", "1", "--lm", "none", "--hotword", "a"], "got hotwords with a beam size of 1"),
        (["--lm", "none", "--alpha", "1"], "got alpha without a language model: lm is none"),
        (["--beam-size", "0"], "beam size is 0"),
        (["--lm", "missing.arpa"], "no such language model"),
        (["--lexicon", "missing.txt"], "no such lexicon"),
        (["--hotword", "NINE"], "hotword 'NINE' has characters that model an4 cannot write: 'EIN'"),
        (["--hotword", "nine=inf"], "hotword 'nine' with weight inf"),
        (["-f", "doc"], "unknown output format 'doc'"),
        (["-", "--jobs", "2"], "standard input cannot be shared"),
    ],
)
def test_options_that_would_do_nothing_are_refused(recordings, arguments, message):
    with pytest.raises(UsageError, match=message):
        asr(recordings / "good1.wav", *arguments)


def test_the_standard_input_folders_and_patterns(recordings, tmp_path):
    printed = asr(recordings / "good8.wav")[0]
    assert asr("-", stdin=(recordings / "good8.wav").read_bytes())[0] == printed
    assert asr(str(recordings / "good[8].wav"))[0] == printed
    asr("-", "-o", tmp_path, "-f", "txt", stdin=(recordings / "good8.wav").read_bytes())
    assert (tmp_path / "stdin.txt").read_text() == printed


def test_what_inputs_name(tmp_path):
    for name in ("a.wav", "b.MP3", "notes.txt", ".hidden.wav", "below/a.wav", "below/deep/c.flac", ".git/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)

    def names(*given, recursive=False):
        found = find_recordings(given, recursive=recursive).recordings
        return [(os.path.relpath(recording.path, root), recording.folder) for recording in found]

    assert names(root) == [("a.wav", ""), ("b.MP3", "")]
    below = [(os.path.join("below", "a.wav"), "below")]
    deep = [(os.path.join("below", "deep", "c.flac"), os.path.join("below", "deep"))]
    assert names(root, recursive=True) == [("a.wav", ""), ("b.MP3", ""), *below, *deep]
    assert names(f"{root}/*.wav", f"{root}/a.wav", f"{root}/notes.txt") == [("a.wav", ""), ("notes.txt", "")]
    assert names(f"{root}/missing.wav") == [("missing.wav", "")]
    (tmp_path / "odd[1].wav").touch()
    assert names(f"{root}/odd[1].wav") == [("odd[1].wav", "")]
    for nothing in (f"{root}/*.ogg", f"{root}/.git/none*"):
        with pytest.raises(UsageError, match="no file fits"):
            find_recordings([nothing])
    (tmp_path / "void" / "sub").mkdir(parents=True)
    (tmp_path / "void" / "sub" / "x.wav").touch()
    with pytest.raises(UsageError, match=r"holds no audio files.*--recursive"):
        find_recordings([f"{root}/void"])
    # Outputs repeat the folders that inputs were found in: no two of them clash.
    outputs = Outputs(tmp_path / "out", ("txt",))
    outputs.prepare(find_recordings([root], recursive=True).recordings)
    assert outputs.paths(Recording("x/below/a.wav", "below")) == {"txt": tmp_path / "out" / "below" / "a.txt"}


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_not_utf8_costs_no_transcript(recordings, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff.wav")
    odd.write_bytes((recordings / "good8.wav").read_bytes()[:-20_000])  # Truncated: its name is in a warning, too.
    asr(odd, "-o", tmp_path / "out")
    made = contents(tmp_path / "out")
    assert len(made) == 7
    assert made[os.fsdecode(b"odd\xff.ctm")].startswith(rb"odd\udcff 1 ")
    (warning,) = json.loads(made[os.fsdecode(b"odd\xff.json")])["warnings"]
    assert warning.startswith(str(odd))


def test_an_output_that_cannot_be_written_is_named_and_the_rest_goes_on(recordings, tmp_path):
    (tmp_path / "good1.txt").mkdir()
    errors = asr(recordings / "good1.wav", recordings / "good8.wav", "-o", tmp_path, "-f", "txt", status=1)[1]
    assert f"asr: {recordings / 'good1.wav'}: {tmp_path / 'good1.txt'} cannot be written (Is a directory)" in errors
    assert "1 written, 1 failed" in errors
    assert list(contents(tmp_path)) == ["good8.txt"]


def test_a_full_disk_ends_the_job_and_names_the_file(recordings, tmp_path, monkeypatch):
    written = []

    def write(path, _text):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)

    monkeypatch.setattr("asr.transcription.inputs.write_text", write)
    with pytest.raises(AsrError, match=r"good\d\.wav: .*\.txt cannot be written \(No space left.*--skip-existing"):
        asr(*(recordings / f"good{index}.wav" for index in range(3)), "-o", tmp_path, "-f", "txt")
    assert len(written) == 1


def test_what_a_truncated_recording_lacks_is_told_and_kept(tmp_path):
    (tmp_path / "cut.wav").write_bytes(EXAMPLE.read_bytes()[:60_000])
    printed, errors = asr(tmp_path / "cut.wav", "--json")
    (line,) = errors.splitlines()
    assert line.startswith(f"asr: warning: {tmp_path / 'cut.wav'}: ends after 1.87 s, but its header promises ")
    assert json.loads(printed)["warnings"] == [line.removeprefix("asr: warning: ")]


def test_an_input_is_never_overwritten(recordings, tmp_path):
    talk = tmp_path / "talk.txt"
    talk.write_bytes((recordings / "good8.wav").read_bytes())
    (tmp_path / "other.wav").symlink_to(talk)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.txt").symlink_to(talk)
    before = contents(tmp_path)
    for given in ((talk, "-o", tmp_path), (tmp_path / "other.wav", "-o", tmp_path / "out"), (talk, "--skip-existing")):
        with contextlib.chdir(tmp_path), pytest.raises(UsageError, match=r"would overwrite the input .*--output-dir"):
            asr(*given, "-f", "txt")
    assert contents(tmp_path) == before


def test_names_that_are_nearly_too_long_and_names_with_control_characters(recordings, tmp_path):
    content = (recordings / "good8.wav").read_bytes()
    for name in ("x" * 240, "ü" * 120, "a\x1b[31m\nb"):
        (tmp_path / f"{name}.wav").write_bytes(content)
    asr(tmp_path, "-f", "txt", "-o", tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 3
    printed, errors = asr(tmp_path / "a\x1b[31m\nb.wav", tmp_path / "\x9b.wav", status=1)
    assert printed.startswith(f"{tmp_path}/a\\x1b[31m\\nb.wav: ")
    assert "\\x9b.wav: no such file" in errors


def test_what_is_passed_over_in_a_folder_is_told(recordings, tmp_path, monkeypatch):
    folder = tmp_path / "calls"
    (folder / "closed").mkdir(parents=True)
    (folder / "a.wav").write_bytes((recordings / "good8.wav").read_bytes())
    os.mkfifo(folder / "b.wav")
    (folder / "linked").symlink_to(recordings)
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    printed, errors = asr(folder, "--recursive", status=1)
    assert printed.count("\n") == 1
    assert f"asr: {folder / 'closed'}: cannot be searched (Permission denied)" in errors
    assert f"asr: warning: {folder / 'b.wav'}: is not a regular file, and was skipped" in errors
    assert f"asr: warning: {folder / 'linked'}: is a link to a folder" in errors


def test_one_channel_or_each(recordings, tmp_path):
    speech, rate = soundfile.read(recordings / "good8.wav", dtype="float32")
    silence = np.zeros_like(speech)
    soundfile.write(tmp_path / "call.wav", np.stack([silence, speech], axis=1), rate)
    words = asr(recordings / "good8.wav")[0]
    assert asr(tmp_path / "call.wav", "--channel", 2)[0] == words
    assert asr(tmp_path / "call.wav", "--channel", 1)[0] == "\n"
    printed = asr(tmp_path / "call.wav", "--channel", "each")[0]
    assert printed == f"{tmp_path}/call.wav (channel 1): \n{tmp_path}/call.wav (channel 2): {words}"
    asr(tmp_path / "call.wav", recordings / "good8.wav", "--channel", "each", "-f", "ctm,json", "-o", tmp_path / "out")
    made = contents(tmp_path / "out")
    assert set(made) == {f"{n}.{s}" for n in ("call-channel1", "call-channel2", "good8") for s in ("ctm", "json")}
    assert made["call-channel2.ctm"].startswith(b"call-channel2 2 ")
    assert json.loads(made["call-channel2.json"])["channel"] == 2
    assert "has 2 channels; got [2], counted from 0" in asr(tmp_path / "call.wav", "--channel", 3, status=1)[1]
    for wrong in ("0", "left"):
        with pytest.raises(UsageError, match="--channel: got"):
            asr(tmp_path / "call.wav", "--channel", wrong)
    with pytest.raises(UsageError, match="reads a file once for each channel"):
        asr("-", "--channel", "each")


def test_a_part_has_the_times_of_the_whole(tmp_path):
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros(10 * rate, np.float32), speech]), rate)
    whole = json.loads(asr(tmp_path / "late.wav", "--json")[0])
    part = json.loads(asr(tmp_path / "late.wav", "--json", "--start", 9.5)[0])
    first, again = (result["segments"][0]["words"][0]["start"] for result in (whole, part))
    assert first > 10
    assert again == pytest.approx(first, abs=0.05)
    assert part["duration"] == pytest.approx(whole["duration"] - 9.5, abs=1e-3)
    assert not json.loads(asr(tmp_path / "late.wav", "--json", "--end", 9)[0])["text"]
    with pytest.raises(UsageError, match="expected an end after the start"):
        asr(EXAMPLE, "--start", 2, "--end", 1)


def test_json_is_json_whatever_the_encoding(recordings, tmp_path):
    (tmp_path / "ü💬.wav").write_bytes((recordings / "good0.wav").read_bytes())
    for encoding in ("ascii", "latin-1", "utf-8"):
        ran = subprocess.run(
            command(tmp_path / "ü💬.wav", "--json"), cwd=ROOT, stdout=subprocess.PIPE, check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert json.loads(ran.stdout.decode(encoding))["file"] == str(tmp_path / "ü💬.wav")


@pytest.mark.parametrize("hz", [100, 440, 3000])
def test_a_tone_and_a_constant_give_no_word(tmp_path, hz):
    time = np.arange(3 * 16_000) / 16_000
    for samples in (0.5 * np.sin(2 * np.pi * hz * time), np.full(len(time), 0.3), np.zeros(len(time))):
        soundfile.write(tmp_path / "tone.wav", samples, 16_000)
        assert asr(tmp_path / "tone.wav")[0] == "\n"


def test_recordings_in_one_batch_do_not_change_each_other(recordings):
    transcriber = Transcriber("an4", threads=1)
    sources = [recordings / f"good{index}.wav" for index in range(9)]
    mixed = [*sources, recordings / "nan.wav", *sources[::-1]]
    seen = []
    together = list(transcriber.transcribe_many(mixed, progress=lambda *report: seen.append(report)))
    assert isinstance(together[9], AsrError)
    for source, transcript in zip(mixed, together, strict=True):
        if transcript is not together[9]:
            alone = transcriber.transcribe(source)
            assert [w.text for w in alone.words] == [w.text for w in transcript.words]
            assert [(w.start_seconds, w.end_seconds) for w in alone.words] == [
                (w.start_seconds, w.end_seconds) for w in transcript.words
            ]
    assert [index for index, share, _ in seen if share == 1.0 and index in range(19)] == sorted(
        index for index, share, _ in seen if share == 1.0
    )
    assert {index for index, share, _ in seen if share == 1.0} == set(range(19))
