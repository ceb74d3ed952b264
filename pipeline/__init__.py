"""The front door: command line, configuration files, run folders, Dask client, progress."""

__version__ = "0.1.0"
