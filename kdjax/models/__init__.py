"""Networks, one a file: `class Model(nn.Module)`, which returns named arrays.

A network sees the inputs that its `reads` names and never a label; it knows
errors and types alone, no loss and no data set. The shortest one is `conv.py`;
files that begin with an underscore are blocks that several networks share.
"""
