"""One stored number, traced back to the positions, prices and betas that it was made of.

The question and its errors are in question.py, what is read in evidence.py, betas.py and stored.py, one file a figure
beside them, the form of an answer in answer.py, how it looks in show.py."""
