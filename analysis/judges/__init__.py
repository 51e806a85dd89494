"""How far judges can be trusted: agreement with each other, and calibration against people."""
