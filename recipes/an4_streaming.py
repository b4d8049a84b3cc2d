"""CMU AN4 by a network that only runs forward in time, for live recognition.

python recipes/an4_streaming.py
"""

from dataclasses import replace

from an4 import RECIPE as AN4  # type: ignore[import-not-found]  # the script's own folder is on the path

from asr.recipe import main

RECIPE = replace(
    AN4,
    name="an4_streaming",
    description="Spelled words, numbers and simple commands in American English, live (CMU AN4).",
    # Each frame sees 320 ms of what follows it.
    model=replace(AN4.model, bidirectional=False, hidden_size=384, lookahead_frames=8, normalisation="global"),
)

if __name__ == "__main__":
    main(RECIPE)
