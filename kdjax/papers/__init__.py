"""Published experiments, run again and compared.

`reproduction.py` runs the configs of `configs/papers` and compares the results
with the published numbers; `closed_forms.py` compares with theory. May import
every layer but `bench` and the commands. It has no training code. Read
`reproduction.py` first.
"""
