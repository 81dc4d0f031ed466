"""Metrics, one family a file: `sums()` that add up over batches, or `rows()`.

Masks and missing labels count nowhere. A metric knows errors and types alone.
Values equal scikit-learn's.
"""
