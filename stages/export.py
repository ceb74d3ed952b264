"""Features with labels for others, in formats that they already read.

An export is a folder: the features in one format, a data card, the recipe, split files where the
speakers are known, and checksums of all of it. It is published whole, and the same store gives the
same bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from features_cache.atomic import atomic_folder
from features_cache.keys import file_sha256
from features_cache.store import Store
from reports.data_card import data_card
from stages.dataset import Selection
from stages.recipe import Recipe
from stages.sharing.anonymity import anonymised
from stages.sharing.card import Circumstances, card_facts, formula_remark
from stages.sharing.content import Content, content_of, pooled
from stages.sharing.format import SUMS, ExportError
from stages.sharing.rights import Terms, refuse_forbidden, terms_of
from stages.sharing.splits import why_no_splits, write_splits
from stages.sharing.table import FORMATS
from stages.sharing.tally import Tally, watched

CARD, RECIPE, SPLITS = "README.md", "recipe.toml", "splits.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an export is asked to be.

    Attributes
    ----------
    to : a key of `stages.sharing.table.FORMATS`
    pool : one row an utterance, mean and deviation over its segments
    salt : replaces names by salted digests; None leaves them
    has_right : whoever asks states to have the right to hand on what a licence forbids
    version : of emostack, for the card
    """

    to: str
    pool: bool = False
    salt: bytes | None = None
    has_right: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was written.

    Attributes
    ----------
    files : paths, sorted; the checksums' file last
    sha256 : hexadecimal digest of each
    n_utterances, n_rows, feature_dim : how much is in them
    remarks : what the exporter should know, one line each
    """

    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    n_utterances: int
    n_rows: int
    feature_dim: int
    remarks: tuple[str, ...]


def export(
    selection: Selection, store: Store, recipe: Recipe, output: Path, options: ExportOptions
) -> Export:
    """Write a selection's features and labels into a new folder.

    Parameters
    ----------
    selection : what to write, in its order
    store : where it is
    recipe : the store's
    output : the folder, published only when it is whole
    options : format, names, rights

    Raises
    ------
    ExportError
        The selection is empty, or holds a name that the format cannot.
    stages.sharing.rights.RightsError
        A corpus' licence forbids it, and nobody has stated to have the right.
    FileExistsError
        There is something of that name already.
    """
    if not len(selection.places):
        message = "no utterance of the manifest has features; expected at least one"
        raise ExportError(message)
    terms = terms_of(selection.manifest["corpus"])
    if not options.has_right:
        refuse_forbidden(terms)
    (content, tally), splits = _content(selection, store, recipe, options)
    format_ = FORMATS[options.to]
    with atomic_folder(output) as folder:
        format_.write(content, folder)
        said = Circumstances(
            version=options.version,
            format=format_,
            terms=terms,
            beside=_write_beside(content, folder, splits),
            splits=splits,
            n_left_out=len(selection.left_out),
            is_anonymous=options.salt is not None,
        )
        matter = format_.front_matter(content) if format_.front_matter else ""
        card = data_card(card_facts(content, tally, said), front_matter=matter)
        (folder / CARD).write_text(card, encoding="utf-8")
        sums = _write_sums(folder)
    return Export(
        files=tuple(output / name for name in sums),
        sha256=tuple(sums.values()),
        n_utterances=content.n_utterances,
        n_rows=int(content.n_rows.sum()),
        feature_dim=content.feature_dim,
        remarks=tuple(_remarks(content, terms)),
    )


def _content(
    selection: Selection, store: Store, recipe: Recipe, options: ExportOptions
) -> tuple[tuple[Content, Tally], str]:
    """Make the content with its tally, and say why there can be no split files (empty: there can)."""
    content = content_of(selection, store, recipe)
    splits = why_no_splits(content, selection.audio_sha256)
    if options.salt is not None:
        content = anonymised(content, options.salt)
        splits = splits and "the utterances cannot be cut into folds that share no speaker or audio"
    content, tally = watched(content)  # what is stored, whatever is made of it
    return (pooled(content) if options.pool else content, tally), splits


def _remarks(content: Content, terms: Sequence[Terms]) -> Iterator[str]:
    for each in terms:
        if each.sharing == "unclear":
            corpus = f"corpus {each.corpus!r}" if each.corpus else "recordings without a corpus"
            yield f"whether features of {corpus} may be handed on is not known here; ask their owner"
    remark = formula_remark(content.manifest)
    if remark:
        yield f"{remark} The data card says so."


def _write_beside(content: Content, folder: Path, splits: str) -> list[tuple[str, str]]:
    """Write what goes with every format; name and words of each file, for the card."""
    (folder / RECIPE).write_text(content.recipe.to_toml(), encoding="utf-8")
    beside = [
        (RECIPE, "everything that decides a feature's value; emostack extract --recipe reads it")
    ]
    if not splits:
        write_splits(content, folder / SPLITS)
        words = "the fold that tests each utterance; no speaker is on both sides of a fold"
        beside.append((SPLITS, words))
    return [*beside, (SUMS, "checksums; sha256sum --check SHA256SUMS")]


def _write_sums(folder: Path) -> dict[str, str]:
    """Write the checksums of all files so far; name -> digest, that of the checksums' file last."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (folder / SUMS).write_text(lines, encoding="utf-8")
    return {**sums, SUMS: file_sha256(folder / SUMS)}
