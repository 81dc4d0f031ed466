"""Teachers that run outside of the student's step.

Their outputs come from a cache on disk or from a program of their own:
`cache_plan.py` says which caches a stage needs, `cache_writer.py` makes them,
`cache_reader.py` reads them, `outputs.py` adds the outputs to each batch. A
teacher inside of the step needs none of these. Read `outputs.py` first.
"""
