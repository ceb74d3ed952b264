"""The table of export formats: to add one, write its module and name it here."""

from collections.abc import Mapping
from types import MappingProxyType

from stages.sharing import arff, audformat, csv, hdf5, hf, kaldi, npz, parquet
from stages.sharing.format import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        module.FORMAT.name: module.FORMAT
        for module in (hdf5, parquet, csv, arff, npz, kaldi, hf, audformat)
    }
)
