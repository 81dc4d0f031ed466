"""Metrics, one family per file: `sums()` or `rows()`, and `result()`.

Sums are added over batches and devices; rows are collected. Masked rows and
unlabelled examples are ignored. Values equal scikit-learn's. A metric may
import errors and types. The contract is in `losses/README.md`; the shortest
metric is `agreement.py`.
"""
