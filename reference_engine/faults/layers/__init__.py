"""The change of each fault at its hooks, a module for each layer of the server.

Importing this package imports all of them, which declares the changes.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
