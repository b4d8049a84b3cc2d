r"""VoxForge, English: read speech that volunteers uploaded, one archive per session.

wget -r -np -nd -A tgz -P voxforge \
        https://repository.voxforge1.org/downloads/SpeechCorpus/Trunk/Audio/Main/16kHz_16bit/
for f in voxforge/*.tgz; do tar xzf $f -C voxforge; done
python data_prep/voxforge.py --source voxforge --out data/voxforge
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines
from asr.text import ENGLISH


# guenter-20140214-afn/etc/PROMPTS, or etc/prompts-original where it is absent, whose lines begin with the stem alone;
# recordings are in wav/ or flac/ (a German session; the English ones look the same):
# guenter-20140214-afn/mfc/de5-001 ES SOLL ETWA FÜNFZIGTAUSEND VERSCHIEDENE SORTEN GEBEN
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances; a hash of the speaker decides the splits: 90, 5 and 5 %."""
    for session in sorted(path for path in root.iterdir() if (path / "etc").is_dir()):
        # "anonymous" is many people: only there each session is a speaker.
        user = session.name.split("-")[0]
        speaker = session.name if user == "anonymous" else user
        prompts = session / "etc" / "PROMPTS"
        for line in read_lines(prompts if prompts.exists() else session / "etc" / "prompts-original"):
            place, _, text = line.partition(" ")
            stem = PurePosixPath(place).name
            folder = session / ("wav" if (session / "wav").is_dir() else "flac")
            yield RawUtterance(f"{session.name}-{stem}", find_audio(folder, stem), text, speaker, held_out(speaker))


CORPUS = Corpus(
    name="voxforge",
    title="VoxForge, English",
    homepage="http://www.voxforge.org/",
    licence="GPL 3.0",
    citation="VoxForge: Free Speech Recognition. http://www.voxforge.org",
    archives=(
        Archive(
            "",
            name="voxforge",
            how_to_get="it is published as one archive a session: fetch and extract them as data_prep/voxforge.py "
            "says and give the folder with --source; or pack them into voxforge.tar",
        ),
    ),
    markers=("*/etc/PROMPTS", "*/etc/prompts-original"),
    splits=("train", "dev", "test"),
    # Volunteers' prompts hold what they like.
    profile=replace(ENGLISH, unknown="map"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
