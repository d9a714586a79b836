"""Strategies over toy models, in more runs than a test can afford."""
