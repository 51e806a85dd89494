"""An example of the library: the claims of arXiv 2606.26102, held against runs or synthetic records."""
