"""Value Retention: measure whether post-training kept the values a language model had.

The four folders beside this one are its parts: ``tasks``, ``adapters``, ``analysis`` and ``train`` are links
to them, so that an editor, a type checker and a clone that nobody installed find the package by its name.
"""

__version__ = "0.1.0"
