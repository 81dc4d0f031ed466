"""Augmentation and signal processing on the device, one a file.

A transform is a pure function of one example and a random key, `(key, x)`, run
inside the step: `data(.., pipelines={"train": {"image": "to_float|flip"}})`.
"""
