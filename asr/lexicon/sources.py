"""Where lexicons come from: files, addresses, and CMUdict by its name."""

import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import DataError
from asr.lexicon.dictionary import PronouncingDictionary
from asr.lexicon.formats import read_lexicon
from asr.text import TextProfile

if TYPE_CHECKING:
    from collections.abc import Callable

CMUDICT = "cmudict"
# Of 17 December 2024; its licence is in its own repository, and in our NOTICE.
CMUDICT_URL = (
    "https://raw.githubusercontent.com/cmusphinx/cmudict/0f8072f814306c5ee4fbf992ed853601b12c01f9/cmudict.dict"
)
CMUDICT_SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
SCHEMES = ("http://", "https://", "file://")
TIMEOUT_SECONDS = 60


def open_lexicon(source: str) -> PronouncingDictionary:
    """Return the lexicon of a file, of an address (http, https, file), or CMUdict, which is downloaded.

    Parameters
    ----------
    source : str
        A path, an address, or ``"cmudict"``: the Carnegie Mellon Pronouncing Dictionary, American English, of one
        state of its repository, checked by its SHA-256.

    Raises
    ------
    DataError
        If it cannot be downloaded or read, or is not a lexicon; see `read_lexicon`.
    """
    if source == CMUDICT and not Path(source).exists():
        return _download(CMUDICT_URL, CMUDICT_SHA256)
    return _download(source) if source.startswith(SCHEMES) else read_lexicon(source)


def _download(url: str, sha256: str = "") -> PronouncingDictionary:
    request = urllib.request.Request(url, headers={"User-Agent": "ctc-asr"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            content = response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(
            f"cannot download the lexicon {url}: {reason}; download it in another way and give its path"
        ) from None
    if sha256 and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(f"{url}: got a file with the SHA-256 {found}; expected {sha256}: download it again")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (url.rpartition("/")[2] or "lexicon")
        path.write_bytes(content)
        return read_lexicon(path)


def fit_words(lexicon: PronouncingDictionary, profile: TextProfile) -> tuple[PronouncingDictionary, list[str]]:
    """Return the lexicon in a profile's letter case, and the words left out, which the profile would change otherwise.

    Raises
    ------
    DataError
        If no word is left.
    """
    cases: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "keep": str}
    in_case = cases[profile.case]
    words = {word: in_case(word) for word in lexicon}
    kept = {word: new for word, new in words.items() if profile.treat(profile.clean(new)) == (new, {})}
    left_out = [word for word in words if word not in kept]
    if not kept:
        raise DataError(
            f"text profile {profile.name!r} leaves none of the lexicon's {len(words)} words unchanged "
            f"({', '.join(left_out[:10])}, …); choose another"
        )
    entries = [(kept[word], phones, log_weight) for word, phones, log_weight in lexicon.entries() if word in kept]
    return PronouncingDictionary(entries), left_out
