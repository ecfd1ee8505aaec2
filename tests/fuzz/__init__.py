"""Bad input of every kind, made by hypothesis, and the check of how it is met."""
