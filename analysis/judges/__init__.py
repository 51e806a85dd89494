"""Reliability of judges: agreement with each other, and calibration against labels by people."""
