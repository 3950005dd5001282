"""Check the installation, the machine, the configuration and the providers before a run."""
