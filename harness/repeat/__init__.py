"""Send again what a finding needs: to reproduce it, to reduce its request, or after a fix."""
