"""How checkpoints are made: TRL scripts, their data and their configs. Imports no benchmark code.

The commands are `data`, `midtrain`, `sft`, `grpo`, `merge` and, for tests, `tiny`. What they share, in the
order of a run: `arguments` (settings), `source` (raw data sets), `data` (rows of one arm), `stamp` (check for
contamination), `template` (tokenizer), `card` (record of the run), `resume` (checkpoints and signals),
`rewards` (GRPO) and `run` (from settings to a saved checkpoint).
"""
