"""Networks, one per file: `class Model(nn.Module)` returns named arrays.

A network reads the inputs that its `reads` lists, and never a label. It imports
errors and types, but no losses and no data sets. The shortest network is
`conv.py`. Files that start with an underscore are blocks that several networks
share. README.md describes the contract.
"""
