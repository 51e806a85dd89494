"""Training rows that share text with a benchmark, in every language.

`value_retention.train` must not read a benchmark, so the comparison is here. It takes the rows file from
``python -m value_retention.train.data`` and the texts of the benchmarks from `value_retention.tasks.data`, and writes
the stamp that training requires.

Files: `words` (normalised tokens), `passages` (texts of a benchmark), `rows` (texts of a training row), `grams` (fast
look-up), `index` (exact and near matches), `check` (a rows file and its stamp).
"""
