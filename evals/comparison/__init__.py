"""Runs side by side: what differs between them, and which of it is more than chance.

Everything is held to one of the runs, the reference. The same cases and questions are paired, so
that how hard they are cancels out, and the many differences of one page are corrected for being
many. It lives beside the statistics of scores because smoke tests are compared by the same ones.
"""
