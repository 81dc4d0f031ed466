"""Augmentation and signal processing on the device, one transform per file.

A transform is a pure function of a random key and one example, `(key, x)`, run
inside the step: `data(.., pipelines={"train": {"image": "to_float|flip"}})`.
In the view "once" it runs when a split is loaded, if it does not use its key.
May import errors, types and `pretrained`. Read `flip.py` first, then `mixup.py`
(a partner), `token_dropout.py` (a mask) and `mask_tokens.py`, which hides
positions: it also returns which.
"""
