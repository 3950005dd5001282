"""What an installation, a machine and a providers.yaml need for a run, looked at before one."""
