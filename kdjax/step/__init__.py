"""Everything inside the compiled training or evaluation step; pure functions.

May import errors, types, the registry and config, but nothing that handles
devices, data sets or files. `step.py` is one step of one seed, `objective.py`
the weighted sum of loss terms, `flow.py` the arrays that terms read by address,
`state.py` what training carries from step to step. Read `step.py` first, then
`objective.py`.
"""
