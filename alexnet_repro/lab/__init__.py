"""The lab: the only code that imports torch."""
