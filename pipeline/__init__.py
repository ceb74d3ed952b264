"""The front door: command line, configuration files, run folders, Dask client, progress."""

__version__ = "0.2.0.dev0"
