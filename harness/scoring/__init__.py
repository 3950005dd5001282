"""What every scorer needs: measurements of single rollouts. Pure."""
