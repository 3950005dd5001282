"""Run the harness against the reference engine with known faults, to prove that it finds them."""
