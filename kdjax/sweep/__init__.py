"""Sweeps: a search for the settings of a stage on validation, then fresh seeds.

Knows training, report and what is above them; Optuna is imported where it is
used. Read `sweeping.py` first, then `programs.py`: trials become grids of one
compiled program. Nothing here reads the test split before `final.py`.
"""
