"""HTML reports: single files that need nothing from the network."""

from reports.html.report import render_html

__all__ = ["render_html"]
