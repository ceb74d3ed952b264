"""The data card of an export: what it is, where it comes from, what it may not be used for.

Facts are one JSON-like object whose keys are all there always; the template says them in the order
that a reader asks: what is it, how is it read, what is in it, how was it made, what are its limits,
may it be used, whom to cite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from reports.rendering import environment, markdown_words

if TYPE_CHECKING:
    from collections.abc import Mapping


def data_card(facts: Mapping[str, Any], *, front_matter: str = "") -> str:
    """Write a data card as Markdown (CommonMark with tables); no name in it is ever markup.

    Parameters
    ----------
    facts : see `stages.sharing.card`
    front_matter : YAML for a reader that wants some; stands above the card between ``---``
    """
    page = environment(markdown_words).get_template("card.md")
    card = page.render(facts=facts, snippet=Markup(facts["snippet"].rstrip("\n")))
    return (f"---\n{front_matter}---\n\n" if front_matter else "") + card
