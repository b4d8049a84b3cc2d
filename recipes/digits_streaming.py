"""The digits of recipes/digits.py by a network that only runs forward in time, for live recognition.

python recipes/digits_streaming.py
"""

from dataclasses import replace

from digits import RECIPE as DIGITS  # type: ignore[import-not-found]  # the script's own folder is on the path

from asr.recipe import main

RECIPE = replace(
    DIGITS,
    name="digits_streaming",
    description="Strings of English digits, zero to nine, live, by synthesised voices: a demonstration.",
    # Each frame sees 200 ms of what follows it.
    model=replace(DIGITS.model, bidirectional=False, hidden_size=192, lookahead_frames=5),
)

if __name__ == "__main__":
    main(RECIPE)
