"""Everything inside the compiled training or evaluation step; pure functions.

Knows errors, types, the registry and config; no device, no data set, no file.
`step.py` is a step of one seed, `objective.py` the sum of weighted loss terms,
`flow.py` the arrays that terms read, by address; `state.py` is what training
carries from step to step. Read `step.py` first, then `objective.py`.
"""
