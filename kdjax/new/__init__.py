"""From data as it lies there to a config: what is in it, and what to train.

`columns.py` and `sensors.py` say what the columns and files are, `facts.py`
reads them and counts, `choices.py` chooses networks, terms and sizes, each with
a reason, and `writing.py` writes them as a config. `estimate.py` times its
steps, `distilling.py` is all of it in one call. Read `choices.py` first.
"""
