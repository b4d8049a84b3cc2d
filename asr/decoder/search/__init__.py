"""How a beam moves: the compiled search.

state.py      what it remembers, in flat arrays
trie.py       words as a tree
fusion.py     what counts beside the acoustics
selection.py  the best candidates of a frame
ending.py     what is decided, and the end of an utterance
kernel.py     the search itself, in a page
"""
