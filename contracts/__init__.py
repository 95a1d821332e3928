"""WHAT the data is: one module per collection, each the single source of every schema."""

from pathlib import Path

DEMO = Path("demo")  # among folders of contracts it stands for those of this package
PAIR = ".contract.py"  # ends the name of the contract's file of a user's own mart: NAME.contract.py beside NAME.py
