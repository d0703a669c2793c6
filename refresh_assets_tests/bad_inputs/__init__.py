"""A hundred bad inputs, each with the exact words that it is answered with.

Here: the tables, one file a kind: positions.py, market.py (rows of the platform), files.py (scenario files), settings.py,
commands.py (dates and names that a person types), schemas.py. Not here: what is done with them (test_bad_inputs.py)."""
