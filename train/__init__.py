"""How checkpoints are made: TRL scripts, their data and their configs. Imports no benchmark code.

The commands are `data`, `midtrain`, `sft`, `grpo`, `merge`, `probe`, `plan` and, for tests, `tiny`. What they share,
in the order of a run: `arguments` (settings and errors), `data` (data sets and their formats), `rows` (rows of one arm
and their tokens), `card` (record of the run, contamination stamp), `rewards` (GRPO), `pairs` (of answers, for the
probe) and `run` (from settings to a saved checkpoint).
"""
