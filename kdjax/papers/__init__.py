"""Published experiments, run again and compared.

`reproduction.py` runs the configs of `configs/papers` and compares results with
the published numbers; `closed_forms.py` compares with theory. No training code
is here. Read `reproduction.py` first.
"""
