"""Keys, shards, generations, stores: the only code that knows HDF5."""
