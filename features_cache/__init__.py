"""Keys, shards, the catalogue, snapshots, stores: the only code that knows HDF5."""
