"""Free Spoken Digit Dataset, by held-out speaker: training and test have different speakers.

python recipes/fsdd_speakers.py
"""

from dataclasses import replace

from fsdd import RECIPE as OFFICIAL  # type: ignore[import-not-found]  # the script's own folder is on the path

from asr.recipe import main

RECIPE = replace(
    OFFICIAL,
    name="fsdd_speakers",
    description="Strings of English digits, zero to nine, by four speakers of the Free Spoken Digit Dataset.",
    train="speaker_train",
    dev="speaker_dev",
    test=("speaker_test",),
)

if __name__ == "__main__":
    main(RECIPE)
