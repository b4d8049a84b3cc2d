import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.errors import AsrError, DataError, UsageError
from asr.features import LogMelConfig
from asr.preparation.corpus import RawUtterance
from asr.preparation.manifests import ManifestOptions, manifest_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.store.store import FeatureStore

Say = Callable[[Path, float, int], None]
OPTIONS = ManifestOptions(features=LogMelConfig(sample_rate=8_000, n_mels=20))


def parsed(source: Path, options: ManifestOptions = OPTIONS) -> list[RawUtterance]:
    return list(manifest_corpus("mine", {"": source}, options).parse(source))


def test_nemo(tmp_path: Path, say: Say) -> None:
    say(tmp_path / "a" / "b.wav", 1.0, 1)
    rows = [
        {"audio_filepath": "a/b.wav", "duration": 1.0, "text": "Whole"},
        {
            "audio_filepath": str(tmp_path / "a" / "b.wav"),
            "duration": 0.25,
            "offset": 0.5,
            "text": "part",
            "speaker": 7,
        },
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    whole, part = parsed(tmp_path / "train.jsonl")
    # As NeMo has it, a duration without an offset is that of a part.
    assert (whole.id, whole.text, whole.end_seconds) == ("b", "Whole", 1.0)
    assert (part.id, part.speaker, part.start_seconds, part.end_seconds) == ("b-00000500", "7", 0.5, 0.75)
    corpus = manifest_corpus("mine", {"train": tmp_path / "train.jsonl"}, OPTIONS)
    prepare(corpus, tmp_path / "out", PrepareOptions(quiet=True))
    store = FeatureStore.open(tmp_path / "out" / "train")
    assert list(store.texts) == ["Whole", "part"]
    assert list(store.durations_seconds) == [1.0, 0.25]
    assert list(store.sources) == ["a/b.wav#t=0,1", "a/b.wav#t=0.5,0.75"]


def test_kaldi(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("rec1 /corpus/rec 1.wav\nrec2\t/corpus/rec2.flac\n")
    (tmp_path / "text").write_text("utt1 so it is\nutt2\tand was\n")
    (tmp_path / "utt2spk").write_text("utt1 ann\nutt2 ben\n")
    (tmp_path / "segments").write_text("utt1 rec1 0.5 3.25\nutt2 rec2 1 2\n")
    first, second = parsed(tmp_path)
    assert first == RawUtterance("utt1", Path("/corpus/rec 1.wav"), "so it is", "ann", "train", 0.5, 3.25)
    assert second == RawUtterance("utt2", Path("/corpus/rec2.flac"), "and was", "ben", "train", 1.0, 2.0)
    for command in (
        "rm -rf x |",
        "sox rec1.wav -t wav - speed 0.9 |",
        "ffmpeg -ss 3 -i rec1.wav - |",
        "cat a b |",
        "|",
    ):
        (tmp_path / "wav.scp").write_text(f"rec1 {command}\nrec2 rec2.wav\n")
        with pytest.raises(DataError, match="is a command"):
            parsed(tmp_path)


@pytest.mark.parametrize(
    ("command", "name", "channels"),
    [
        ("sph2pipe -f wav -p /c/a.sph |", "/c/a.sph", ()),
        ("/kaldi/tools/sph2pipe_v2.5/sph2pipe -f wav -p -c 2 /c/a.sph|", "/c/a.sph", (1,)),
        ("sph2pipe -f wav -p -c 1 /c/a.sph | sox -t wav - -r 8000 -b 16 -t wav - |", "/c/a.sph", (0,)),
        ("flac -c -d -s /c/a.flac |", "/c/a.flac", ()),
        ("flac -cds '/c/a b.flac' | sox -t wav - -t wav - rate -h 16k |", "/c/a b.flac", ()),
        ("sox -G /c/a.wav -r 16000 -c 1 -t wav - remix 2 |", "/c/a.wav", (1,)),
        ("ffmpeg -loglevel error -i /c/a.m4a -ac 1 -ar 16000 -f wav - |", "/c/a.m4a", ()),
        ("cat /c/a.wav |", "/c/a.wav", ()),
    ],
)
def test_of_kaldi_pipes_the_file_is_read(tmp_path: Path, command: str, name: str, channels: tuple[int, ...]) -> None:
    (tmp_path / "wav.scp").write_text(f"utt1 {command}\n")
    (tmp_path / "text").write_text("utt1 so it is\n")
    (row,) = parsed(tmp_path)
    assert (row.audio, row.channels) == (Path(name), channels)


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "deep.csv").write_text('wav_filename,wav_filesize,transcript\r\n1.wav,44,"so, it is"\r\n')
    assert [row.text for row in parsed(tmp_path / "deep.csv")] == ["so, it is"]
    (tmp_path / "voice.tsv").write_text('client_id\tpath\tsentence\nann\t1.mp3\t"so" it is\n')
    (row,) = parsed(tmp_path / "voice.tsv")
    assert (row.speaker, row.audio, row.text) == ("ann", tmp_path / "1.mp3", '"so" it is')
    (tmp_path / "lines.csv").write_text('audio,text\r\n1.wav,"so\r\nit is"\r\n')
    (row,) = parsed(tmp_path / "lines.csv")
    assert row.text.split() == ["so", "it", "is"]
    (tmp_path / "own.csv").write_text("who,said,sound\nann,it is,x.wav\n")
    options = ManifestOptions(columns={"audio": "sound", "text": "said", "speaker": "who"})
    (row,) = parsed(tmp_path / "own.csv", options)
    assert (row.speaker, row.audio, row.text) == ("ann", tmp_path / "x.wav", "it is")


@pytest.mark.parametrize(
    ("table", "end"),
    [
        ("audio,offset,duration\nx.wav,1.5,2", 3.5),
        ("audio,start,end\nx.wav,1.5,3", 3.0),
        ("audio,duration,end\nx.wav,2,3", None),
    ],
)
def test_duration_and_end_count_beside_a_start(tmp_path: Path, table: str, end: float | None) -> None:
    (tmp_path / "a.csv").write_text(table)
    assert [row.end_seconds for row in parsed(tmp_path / "a.csv")] == [end]


def test_a_column_tells_the_split(tmp_path: Path, say: Say) -> None:
    for number in range(4):
        say(tmp_path / f"{number}.wav", 0.5, number)
    splits = ("train", "test", "test", "")
    rows = [f"{number}.wav,it is,{split}" for number, split in enumerate(splits)]
    (tmp_path / "a.csv").write_text("\n".join(["audio,text,subset", *rows]))
    corpus = manifest_corpus("mine", {"": tmp_path / "a.csv"}, OPTIONS)
    assert corpus.splits == ("train", "test")
    prepare(corpus, tmp_path / "out", PrepareOptions(quiet=True))
    for split, ids in (("train", ["0", "3"]), ("test", ["1", "2"])):
        assert list(FeatureStore.open(tmp_path / "out" / split).ids) == ids
    (tmp_path / "a.csv").write_text("audio,text,split\n0.wav,it is,../up\n")
    with pytest.raises(DataError, match="expected a valid folder name"):
        manifest_corpus("mine", {"": tmp_path / "a.csv"}, OPTIONS)


def test_a_column_tells_the_disagreement(tmp_path: Path, say: Say) -> None:
    for number in range(3):
        say(tmp_path / f"{number}.wav", 0.5, number)
    (tmp_path / "a.csv").write_text("audio,text,disagreement\n0.wav,it is,0.25\n1.wav,it is,\n2.wav,it is,0\n")
    prepare(manifest_corpus("mine", {"train": tmp_path / "a.csv"}, OPTIONS), tmp_path / "a", PrepareOptions(quiet=True))
    store = FeatureStore.open(tmp_path / "a" / "train")
    assert store.disagreements.tolist() == [0.25, 0.0, 0.0]
    (tmp_path / "b.csv").write_text("audio,text\n0.wav,it is\n1.wav,it is\n2.wav,it is\n")
    prepare(manifest_corpus("mine", {"train": tmp_path / "b.csv"}, OPTIONS), tmp_path / "b", PrepareOptions(quiet=True))
    other = FeatureStore.open(tmp_path / "b" / "train")
    assert not other.disagreements.any()
    # The shards differ in their metadata alone; what is trained on differs by the column.
    assert len(store.identity) == len(other.identity) + 1
    (tmp_path / "a.csv").write_text("audio,text,disagreement\n0.wav,it is,nan\n")
    with pytest.raises(DataError, match="expected a number of 0 or more"):
        parsed(tmp_path / "a.csv")


@pytest.mark.parametrize("given", ["in", "in/a.csv"])
def test_relative_sources(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    say(tmp_path / "in" / "x.wav", 0.5, 1)
    (tmp_path / "in" / "x.txt").write_text("it is")
    (tmp_path / "in" / "a.csv").write_text("audio,text\nx.wav,it is")
    monkeypatch.chdir(tmp_path)
    prepare(manifest_corpus("mine", {"train": Path(given)}, OPTIONS), "out", PrepareOptions(quiet=True))
    assert list(FeatureStore.open("out/train").sources) == ["x.wav"]


def test_a_folder_of_audio_with_text(tmp_path: Path, say: Say) -> None:
    say(tmp_path / "ann" / "1.wav", 0.3, 1)
    (tmp_path / "ann" / "1.txt").write_bytes("\ufeffso it\r\nis\r\n".encode())
    (row,) = parsed(tmp_path)
    assert (row.id, row.speaker, row.text) == ("ann-1", "ann", "so it is")


def test_holding_out_is_stable_and_by_speaker(tmp_path: Path) -> None:
    lines = [f"{speaker}/{number}.wav,words,{speaker}" for speaker in range(400) for number in range(2)]
    (tmp_path / "all.csv").write_text("\n".join(["audio,text,speaker", *lines]))
    rows = parsed(tmp_path / "all.csv", ManifestOptions(hold_out="speaker"))
    splits = {row.speaker: row.split for row in rows}
    assert all(splits[row.speaker] == row.split for row in rows)
    counts = Counter(splits.values())
    # 400 draws of 5 %: 20 expected, 4.4 standard deviations either way.
    assert 1 <= counts["dev"] <= 40
    assert 1 <= counts["test"] <= 40
    (tmp_path / "half.csv").write_text("\n".join(["audio,text,speaker", *lines[::-3]]))
    fewer = parsed(tmp_path / "half.csv", ManifestOptions(hold_out="speaker"))
    assert all(splits[row.speaker] == row.split for row in fewer)


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("a.jsonl", b"{}", UsageError, "--columns audio=NAME"),
        ("a.jsonl", b"[1]", DataError, "line 1: is list"),
        ("a.jsonl", b"so", DataError, "line 1: is not JSON"),
        ("a.csv", b"audio,text\nx.wav\n", DataError, "line 2: the number of fields is not the header's"),
        ("a.csv", b"audio,text\nx.wav,caf\xe9\n", DataError, "line 2: byte 0xe9 is not UTF-8"),
        ("a.csv", b'audio,text\nx.wav,"a"b\n', DataError, "line 2: is not CSV"),
        ("a.jsonl", b'{"audio": "x"}\n\n \nso', DataError, "line 4: is not JSON"),
        (
            "a.csv",
            b"\naudio,text\n\n\nx.wav,a\n\ny.wav\n",
            DataError,
            "line 7: the number of fields is not the header's",
        ),
        (
            "a.csv",
            b'audio,text\n\nx.wav,"a\n\nb"\n\ny.wav\n',
            DataError,
            "line 7: the number of fields is not the header's",
        ),
        ("a.csv", b'audio,text\n\nx.wav,"a"b\n', DataError, "line 3: is not CSV"),
        ("a.csv", b"audio,start\nx.wav,soon\n", DataError, "got start 'soon'; expected seconds"),
        ("a.csv", b"audio,start,end\nx.wav,2,1\n", DataError, "got start '2', end '1'; expected seconds"),
        ("a.csv", b"", DataError, "is empty"),
        ("a.jsonl", b'{"audio_filepath": "x"}\n{"text": "a"}', UsageError, "line 2: none of its columns"),
        ("a.jsonl", b'{"audio_filepath": "x", "offset": NaN}', DataError, "got start nan; expected seconds"),
        ("a.jsonl", b'{"audio_filepath": "x", "offset": -1, "duration": 2}', DataError, "got start -1, duration 2;"),
        ("a.jsonl", b'{"audio_filepath": "x", "text": ["a"]}', DataError, r"has the text \['a'\]"),
        ("a.jsonl", b'{"audio_filepath": null}', DataError, "has the audio None"),
        ("a.jsonl", b'{"audio_filepath": "x", "offset": [1]}', DataError, r"got start \[1\]; expected seconds"),
        ("a.doc", b"", UsageError, "is of an unknown kind"),
    ],
)
def test_bad_manifests(tmp_path: Path, name: str, content: bytes, kind: type[AsrError], message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=message):
        parsed(tmp_path / name)


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        manifest_corpus("mine", {"train": tmp_path / "nowhere.csv"})
    with pytest.raises(UsageError, match="did you mean 'speaker'"):
        ManifestOptions(columns={"speeker": "x"})
    (tmp_path / "a.csv").write_text("audio,text\nx.wav,a\n")
    with pytest.raises(UsageError, match="did you mean 'text'"):
        parsed(tmp_path / "a.csv", ManifestOptions(columns={"text": "texts"}))
    with pytest.raises(DataError, match="x has no speaker to hold out by"):
        parsed(tmp_path / "a.csv", ManifestOptions(hold_out="speaker"))


def test_the_command_line(tmp_path: Path, say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    from asr.preparation.command import manifest_main

    say(tmp_path / "x.wav", 0.5, 1)
    (tmp_path / "a.csv").write_text("sound,said\nx.wav,it is\n")
    arguments = [f"train={tmp_path / 'a.csv'}", "--out", str(tmp_path / "out"), "--jobs", "1", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        manifest_main([*arguments, "--columns", "audio=sound", "text=said"])
    assert ended.value.code == 0
    assert FeatureStore.open(tmp_path / "out" / "train").texts[0] == "it is"
    with pytest.raises(SystemExit) as ended:
        manifest_main(arguments)
    assert ended.value.code == 2
    assert "--columns audio=NAME" in capsys.readouterr().err


def test_a_name_that_is_not_utf8_is_left_out_and_named(tmp_path: Path, say: Say) -> None:
    say(tmp_path / "in" / "a.wav", 0.5, 1)
    (tmp_path / "in" / "a.txt").write_text("it is")
    try:
        os.rename(bytes(tmp_path / "in" / "a.wav"), bytes(tmp_path / "in") + b"/caf\xe9.wav")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    say(tmp_path / "in" / "b.wav", 0.5, 2)
    (tmp_path / "in" / "b.txt").write_text("it is")
    corpus = manifest_corpus("mine", {"train": tmp_path / "in"}, OPTIONS)
    summary = prepare(corpus, tmp_path / "out", PrepareOptions(quiet=True))
    assert summary.splits["train"].rejected == {"name not UTF-8": 1}
    row = json.loads((tmp_path / "out" / "train" / "rejected.jsonl").read_text())
    assert row["id"] == "caf\\udce9"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [["audio", "text", "speaker"], ["a.wav", "só it; is, ok" if delimiter != "\t" else "só it is", "ann"]]
    lines = [delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows]
    (tmp_path / "a.csv").write_bytes("\r\n".join(lines).encode(encoding))
    (row,) = parsed(tmp_path / "a.csv")
    assert (row.audio, row.text, row.speaker) == (tmp_path / "a.wav", rows[1][1], "ann")


def test_names_that_windows_wrote(tmp_path: Path, say: Say) -> None:
    say(tmp_path / "clips" / "a.wav", 0.5, 1)
    (tmp_path / "a.csv").write_text("audio,text\nclips\\a.wav,so it is\n")
    (row,) = parsed(tmp_path / "a.csv")
    assert (row.audio, row.id) == (tmp_path / "clips" / "a.wav", "a")
    # Here a backslash may be part of a name.
    (tmp_path / "clips\\a.wav").touch()
    assert parsed(tmp_path / "a.csv")[0].audio == tmp_path / "clips\\a.wav"


def test_an_audiofolder(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.csv").write_text(f"file_name,transcription\nclips/{split}.wav,so it is\n")
    rows = parsed(tmp_path)
    assert [(row.split, row.audio) for row in rows] == [
        ("test", tmp_path / "test" / "clips" / "test.wav"),
        ("train", tmp_path / "train" / "clips" / "train.wav"),
    ]
    assert manifest_corpus("mine", {"": tmp_path}, OPTIONS).splits == ("test", "train")
    (tmp_path / "train" / "metadata.jsonl").write_text(json.dumps({"file_name": "x.wav", "text": "it is"}))
    (row,) = parsed(tmp_path / "train", OPTIONS)[:1]
    assert (row.audio, row.text, row.split) == (tmp_path / "train" / "x.wav", "it is", "train")


def test_a_folder_that_datasets_saved(tmp_path: Path, say: Say) -> None:
    import pyarrow as pa

    say(tmp_path / "a.wav", 0.5, 1)
    content = (tmp_path / "a.wav").read_bytes()
    for split in ("train", "test"):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
        rows = [{"audio": {"bytes": content, "path": "a.wav"}, "sentence": f"so {split}", "client_id": "ann"}]
        batch = pa.RecordBatch.from_pylist(rows)
        with (
            pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
            pa.ipc.new_stream(file, batch.schema) as out,
        ):
            out.write_batch(batch)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    test, train = parsed(tmp_path / "saved")
    assert (test.split, test.text, test.speaker, train.split) == ("test", "so test", "ann", "train")
    assert isinstance(train.audio, Path)
    assert train.audio.read_bytes() == content
    prepare(manifest_corpus("mine", {"": tmp_path / "saved"}, OPTIONS), tmp_path / "out", PrepareOptions(quiet=True))
    assert list(FeatureStore.open(tmp_path / "out" / "train").texts) == ["so train"]
    (tmp_path / "saved" / "test" / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match="expected what save_to_disk wrote"):
        parsed(tmp_path / "saved")


@pytest.mark.parametrize("count", range(1, 9))
def test_holding_out_gives_every_split_a_speaker_or_refuses(tmp_path: Path, count: int) -> None:
    lines = [f"{speaker}{number}.wav,words,{speaker}" for speaker in "abcdefgh"[:count] for number in range(3)]
    (tmp_path / "all.csv").write_text("\n".join(["audio,text,speaker", *lines]))
    options = ManifestOptions(hold_out="speaker")
    if count < 3:
        with pytest.raises(UsageError, match=f"got {count} of them; expected 3 or more"):
            parsed(tmp_path / "all.csv", options)
        return
    rows = parsed(tmp_path / "all.csv", options)
    assert {row.split for row in rows} == {"train", "dev", "test"}
    assert len({(row.speaker, row.split) for row in rows}) == count
    # In whichever order they come.
    (tmp_path / "all.csv").write_text("\n".join(["audio,text,speaker", *lines[::-1]]))
    assert parsed(tmp_path / "all.csv", options) == rows[::-1]


def test_parts_beyond_their_file_and_durations_that_differ_are_reported(tmp_path: Path, say: Say) -> None:
    for name in "abcdef":
        say(tmp_path / f"{name}.wav", 2.0, ord(name))
    rows = [
        {"audio_filepath": "a.wav", "offset": 1.0, "duration": 3.0, "text": "so"},
        {"audio_filepath": "b.wav", "offset": 1.0, "duration": 1.3, "text": "so"},
        {"audio_filepath": "c.wav", "duration": 1.0, "text": "so"},
        {"audio_filepath": "d.wav", "offset": 5.0, "duration": 1.0, "text": "so"},
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "dev.csv").write_text("audio,text,duration\na.wav,so,2.3\nb.wav,so,5\nc.wav,so,2000\nd.wav,so,\n")
    sources = {"train": tmp_path / "train.jsonl", "dev": tmp_path / "dev.csv"}
    prepare(manifest_corpus("mine", sources, OPTIONS), tmp_path / "out", PrepareOptions(quiet=True))
    train, dev = (FeatureStore.open(tmp_path / "out" / split) for split in ("train", "dev"))
    assert list(train.durations_seconds) == [1.0, 1.0]
    assert list(dev.ids) == ["a", "c", "d"]
    report = (tmp_path / "out" / "report.json").read_text()
    assert "the part ends at 4 s, but the audio ends at 2.00 s" in report
    assert "lasts 2.00 s, but the corpus states 5 s" in report
    assert report.count("part beyond the audio") >= 1
