"""Files decoded to arrays: images, audio, text, tables.

NumPy in and out, on the host: no JAX, no data set, no network. What runs on the
device is in `transforms/`. Each file is one modality.
"""
