"""Every corpus script on a small made-up tree in its corpus's own layout; the real ones where they are at hand."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from asr.errors import DataError
from asr.preparation.archives import find_archive, find_root
from asr.preparation.command import load_corpus
from asr.preparation.corpus import RawUtterance
from asr.preparation.extraction import extract
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare

SCRIPTS = Path(__file__).parents[2] / "data_prep"
NAMES = sorted(
    path.stem
    for path in SCRIPTS.glob("*.py")
    if path.stem not in ("manifest", "lhotse", "english_text", "english_check")
)
ARCHIVES = Path(os.environ.get("ASR_ARCHIVES", SCRIPTS.parent.parent / "shared" / "data"))


def tree(root: Path, files: Iterable[str] = (), **texts: str) -> Path:
    """Make empty `files` and text files (``a__b`` is a/b) below `root`."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def parsed(name: str, root: Path) -> dict[tuple[str, str], RawUtterance]:
    """Return the utterances by (split, id), after finding the root from one level above."""
    corpus = load_corpus(name)
    assert find_root(root.parent, corpus.markers) == root
    rows = list(corpus.parse(root))
    assert {row.split for row in rows} <= set(corpus.splits)
    found = {(row.split, row.id): row for row in rows}
    assert len(found) == len(rows)
    assert all(path.is_file() for row in rows for path in row.files)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_facts(name: str) -> None:
    corpus = load_corpus(name)
    assert corpus.name == name
    assert corpus.licence
    assert corpus.archives or corpus.embedded
    assert set(corpus.on_request) | set(corpus.train_splits) <= set(corpus.splits)
    assert set(corpus.at_hand) <= set(corpus.on_request)
    for archive in corpus.archives:
        assert archive.url.startswith(("http://", "https://")) or archive.how_to_get
        assert archive.checksum == "" or archive.checksum.split(":")[0] in ("md5", "sha256")
        assert set(archive.splits) <= set(corpus.splits)


def test_an4(tmp_path: Path) -> None:
    root = tmp_path / "an4"
    tree(
        root,
        [f"wav/an4_clstk/{name}" for name in ("fash/an251-fash-b.sph", "mblb/cen1-mblb-b.wav")]
        + ["wav/an4test_clstk/fcaw/an409-fcaw-b.flac"],
        etc__an4_train_DOT_transcription="<s> YES </s> (an251-fash-b)\n<s> U M N Y H SIX </s> (cen1-mblb-b)\n",
        etc__an4_test_DOT_transcription="GO (an409-fcaw-b)",
    )
    rows = parsed("an4", root)
    assert {key: (row.text, row.speaker) for key, row in rows.items()} == {
        ("train", "an251-fash-b"): ("YES", "fash"),
        ("dev", "cen1-mblb-b"): ("U M N Y H SIX", "mblb"),
        ("test", "an409-fcaw-b"): ("GO", "fcaw"),
    }


def test_fsdd(tmp_path: Path) -> None:
    speakers = ("george", "lucas")
    names = [f"recordings/{d}_{s}_{i}.wav" for d in range(10) for s in speakers for i in range(14)]
    rows = parsed("fsdd", tree(tmp_path / "fsdd", names))
    used: dict[str, Counter[str]] = {}
    for (split, _), row in rows.items():
        digits = [path.stem.split("_") for path in row.files]
        words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        assert row.text.split() == [words[int(digit)] for digit, _, _ in digits]
        assert {speaker for _, speaker, _ in digits} == {row.speaker}
        assert len(digits) == 1 or (3 <= len(digits) <= 7 and len(row.gaps_seconds) == len(digits) - 1)
        used.setdefault(split, Counter()).update(path.stem for path in row.files)
    indices = {split: {int(stem.split("_")[2]) for stem in stems} for split, stems in used.items()}
    assert indices["test"] == indices["test_isolated"] == set(range(5))
    assert indices["dev"] == set(range(5, 10))
    assert indices["train"] == set(range(10, 14))
    # Every training recording alone once and in five strings.
    assert set(used["train"].values()) == {6}
    assert not used["speaker_train"].keys() & used["speaker_dev"].keys()
    assert {stem.split("_")[1] for stem in used["speaker_test"]} == {"lucas"}
    assert {stem.split("_")[1] for stem in used["speaker_train"] | used["speaker_dev"]} == {"george"}
    assert [row.text for row in load_corpus("fsdd").parse(tmp_path / "fsdd")] == [row.text for row in rows.values()]


@pytest.mark.parametrize(("name", "part"), [("librispeech", "train-clean-100"), ("mini_librispeech", "train-clean-5")])
def test_librispeech(tmp_path: Path, name: str, part: str) -> None:
    root = tree(
        tmp_path / "LibriSpeech",
        [f"{part}/19/227/19-227-0000.flac", f"{part}/19/227/19-227-0001.opus"],
        **{f"{part}__19__227__19-227_DOT_trans_DOT_txt": "19-227-0000 CHAPTER THIRTY\n19-227-0001 HER MOTHER\n"},
    )
    rows = parsed(name, root)
    assert rows[part, "19-227-0000"].text == "CHAPTER THIRTY"
    assert rows[part, "19-227-0001"].speaker == "19"
    # The same utterances once more, all of a speaker in one of the splits by speaker; and in the whole of 960 hours.
    whole = {"train-960"} if name == "librispeech" else set()
    (by_speaker,) = {split for split, _ in rows} - whole - {part}
    assert by_speaker.startswith("speaker_")
    assert Counter(split for split, _ in rows) == dict.fromkeys({part, by_speaker, *whole}, 2)


def test_ljspeech(tmp_path: Path) -> None:
    line = 'LJ001-0007|the "forty-two line Bible", 1455,|the "forty-two line Bible", fourteen fifty-five,'
    root = tree(tmp_path / "LJ", ["wavs/LJ001-0007.opus"], metadata_DOT_csv=f"{line}\n")
    (row,) = parsed("ljspeech", root).values()
    profile = load_corpus("ljspeech").profile
    assert profile is not None
    assert profile(row.text) == "the forty two line bible fourteen fifty five"
    assert profile("Düsseldorf, manœuvre") == "dusseldorf manoeuvre"


def test_common_voice(tmp_path: Path) -> None:
    head = "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\n"
    line = 'ann\tcommon_voice_en_1.mp3\tabc\t"Oh," she said.\t2\ten\n'
    root = tree(tmp_path / "en", ["clips/common_voice_en_1.opus"], validated_DOT_tsv=head + line)
    rows = parsed("common_voice", root)
    assert rows["validated", "common_voice_en_1"].text == '"Oh," she said.'
    assert len(rows) == 2
    tree(root, test_DOT_tsv=head + line)
    assert {split for split, _ in parsed("common_voice", root)} == {"validated", "test"}


def test_a_table_that_is_cut_off_is_a_clear_error(tmp_path: Path) -> None:
    table = "client_id\tpath\tsentence\nann\ta.mp3\thello there\nann\ta.m"
    root = tree(tmp_path / "en", ["clips/a.mp3"], train_DOT_tsv=table, test_DOT_tsv=table)
    with pytest.raises(DataError, match="is the archive completely extracted"):
        prepare(load_corpus("common_voice"), tmp_path / "out", PrepareOptions(source=root, quiet=True))


def test_speechocean762(tmp_path: Path) -> None:
    texts = {}
    for part, speaker in (("train", "0001"), ("test", "0003")):
        name = f"0{speaker}0011"
        texts |= {
            f"{part}__text": f"{name}\tWE CALL IT BEAR\n",
            f"{part}__utt2spk": f"{name} {speaker}\n",
            f"{part}__wav_DOT_scp": f"{name}\tWAVE/SPEAKER{speaker}/{name}.WAV\n",
        }
    audio = [f"WAVE/SPEAKER{speaker}/0{speaker}0011.opus" for speaker in ("0001", "0003")]
    rows = parsed("speechocean762", tree(tmp_path / "so", audio, **texts))
    assert rows["test", "000030011"].speaker == "0003"
    assert {row.text for row in rows.values()} == {"WE CALL IT BEAR"}


def test_yesno(tmp_path: Path) -> None:
    root = tree(tmp_path / "waves_yesno", ["0_0_0_0_1_1_1_1.wav", "1_0_1_1_0_1_1_0.flac"])
    rows = parsed("yesno", root)
    assert {row.text for row in rows.values()} == {"no no no no yes yes yes yes", "yes no yes yes no yes yes no"}


def test_tedlium3(tmp_path: Path) -> None:
    stm = (
        "Talk_2010 1 inter_segment_gap 0 14.95 <o,,unknown> ignore_time_segment_in_scoring\n"
        "Talk_2010 1 Talk_2010 14.95 16.19 <NA> <unk> because i 'm\n"
        "Talk_2010 1 Talk_2010 16.12 25.02 <o,f0,male> read(2) it {COUGH} don 't\n"
    )
    audio = ["legacy/dev/sph/Talk_2010.sph"]
    root = tree(tmp_path / "TEDLIUM_release-3", audio, legacy__dev__stm__Talk_2010_DOT_stm=stm)
    first, second = parsed("tedlium3", root).values()
    assert (first.id, first.start_seconds, first.end_seconds) == ("Talk_2010-0001495-0001619", 14.95, 16.19)
    assert [" ".join(row.text.split()) for row in (first, second)] == ["because i'm", "read it don't"]


def test_voxforge(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "voxforge",
        ["ralf-2007-en10/wav/en10-001.wav", "anonymous-2008-abc/flac/a1.flac"],
        **{
            "ralf-2007-en10__etc__PROMPTS": "ralf-2007-en10/mfc/en10-001 THE DAY WAS COLD\n",
            "anonymous-2008-abc__etc__prompts-original": "a1 The day was cold.\n",
        },
    )
    rows = {row.id: row for row in parsed("voxforge", root).values()}
    assert rows["ralf-2007-en10-en10-001"].speaker == "ralf"
    assert rows["anonymous-2008-abc-a1"].speaker == "anonymous-2008-abc"
    assert rows["anonymous-2008-abc-a1"].text == "The day was cold."


def test_noise(tmp_path: Path) -> None:
    root = tree(tmp_path / "all" / "noise", ["esc10/rain/1.opus", "RIRS/small/a.wav", "README.md"])
    rows = list(load_corpus("noise").parse(root))
    assert {(row.split, row.id) for row in rows} == {("noise", "esc10-rain-1"), ("rir", "RIRS-small-a")}


def test_noise_among_impulse_responses(tmp_path: Path) -> None:
    real, point = "real_rirs_isotropic_noises", "pointsource_noises"
    responses = [f"{real}/air_type1_air_office_0_1.wav", f"{real}/RVB2014_type1_rir_largeroom1.wav"]
    responses += ["simulated_rirs/smallroom/Room001/Room001-00001.wav"]
    noises = [f"{real}/RVB2014_type1_noise_largeroom1.wav", f"{real}/noise1.wav", f"{point}/noise-free-sound-0000.wav"]
    root = tree(tmp_path / "RIRS_NOISES", [*responses, *noises, f"{point}/stirring.wav"])
    rows = list(load_corpus("noise").parse(root))
    names = {row.files[0].relative_to(root).as_posix() for row in rows if row.split == "rir"}
    assert names == set(responses)
    # What the folder is called that was given counts too.
    assert {row.split for row in load_corpus("noise").parse(root / "simulated_rirs")} == {"rir"}


REAL = {
    "an4": {"train": 845, "dev": 103, "test": 130},
    "yesno": {"train": 24, "dev": 6, "test": 30},
    "ljspeech": {"train": 351, "dev": 15, "test": 19},
}


@pytest.mark.skipif(not ARCHIVES.is_dir(), reason="the corpora's archives are not at hand (ASR_ARCHIVES)")
@pytest.mark.parametrize("name", REAL)
def test_real_archives(name: str, tmp_path: Path) -> None:
    corpus = load_corpus(name)
    path = find_archive(corpus.archives[0], ARCHIVES)
    if path is None:
        pytest.skip(f"the archive of {name} is not at hand")
    root = find_root(extract(path, tmp_path, pytest.fail), corpus.markers)
    rows = list(corpus.parse(root))
    assert Counter(row.split for row in rows) == REAL[name]
    assert all(path.is_file() for row in rows for path in row.files)
    if name == "an4":
        texts = [row.text.lower() for row in rows if row.split == "test"]
        assert sum(len(text.split()) for text in texts) == 773
        assert sum(map(len, texts)) == 2565
        assert {row.speaker[0] for row in rows if row.split == "dev"} == {"f", "m"}
        assert len({row.speaker for row in rows if row.split == "dev"}) == 8
