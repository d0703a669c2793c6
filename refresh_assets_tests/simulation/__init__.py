"""A simulated quarter: the real decisions and the real assets through 63 nights on real prices, on a seeded clock.

Here: what happens (kinds.py, script.py), the platform to which it happens (platform.py), the deployed program in processes
of its own (deployment.py, processes.py), playing a script and holding each look against it (play.py), the comparison at
the end (clean.py). `python -m refresh_assets_tests.simulation --seeds 20` plays many. Not here: each rule of the gate
(automation/)."""
