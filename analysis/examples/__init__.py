"""An example of the library: the claims of arXiv 2606.26102, checked on runs or on synthetic records."""
