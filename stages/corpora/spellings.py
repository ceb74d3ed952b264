"""The vocabulary of emotions, and the spellings of it that corpora and label files use.

Only spellings that mean one thing are here: `anxiety` may be fear or a state of its own, `con` may be
contempt or confusion, and single letters mean what their corpus says. Such labels need a map.
"""

import unicodedata

_SPELLINGS = {
    "anger": "angry ang angray "
    "wut wütend wuetend ärger aerger ärgerlich zorn zornig colère rabbia ira enojo enfado raiva "
    "woede boos boosheid gniew złość öfke kizgin 愤怒 生气 憤怒 怒り",
    "boredom": "bored bor boredem boring langeweile gelangweilt ennui noia aburrimiento aburrido "
    "tédio verveling nuda 无聊",
    "calm": "calmness ruhe ruhig calme calma kalm spokój 平静",
    "contempt": "contemptuous verachtung verächtlich mépris disprezzo desprecio desprezo minachting "
    "pogarda 蔑视 轻蔑",
    "disgust": "disgusted dis ekel angeekelt dégoût disgusto asco nojo walging wstręt iğrenme "
    "厌恶 嫌恶",
    "excitement": "excited exc begeisterung begeistert excité",
    "fear": "fearful fea afraid scared angst ängstlich aengstlich furcht peur paura miedo medo "
    "strach korku 恐惧 害怕 恐れ",
    "frustration": "frustrated fru frustriert frustré frustrazione frustración frustração frustratie "
    "frustracja",
    "happiness": "happy hap joy joyful freude freudig glück glücklich gluecklich fröhlich froehlich "
    "joie heureux gioia felicità felicidad alegría alegria feliz felicidade vreugde blij blijdschap "
    "radość mutlu mutluluk 高兴 快乐 开心 喜び",
    "neutral": "neu neutrality neutralität neutre neutro neutralità neutraal neutralny neutralność "
    "nötr 中性 中立",
    "other": "others oth sonstige sonstiges andere autre altro otro outro",
    "sadness": "sad trauer traurig traurigkeit tristesse triste tristezza tristeza verdriet "
    "verdrietig smutek smutny üzgün üzüntü 悲伤 难过 伤心 悲しみ",
    "surprise": "surprised sur superise pleasant_surprise pleasantly_surprised "
    "überraschung überrascht ueberraschung sorpresa surpresa verrassing zaskoczenie "
    "惊讶 吃惊 驚き",
}

CANONICAL = tuple(sorted(_SPELLINGS))
"""The emotions' canonical names, as audformat's corpora have them."""


def _folded(spelling: str) -> str:
    """Forget case, ways to write one letter, and how words are joined."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", spelling).casefold())
    return " ".join(text.replace("_", " ").replace("-", " ").split())


KNOWN = {
    _folded(spelling): name
    for name, spellings in _SPELLINGS.items()
    for spelling in [name, *spellings.split()]
}
"""Spelling, folded -> canonical name."""


def canonical_name(spelling: str) -> str | None:
    """Give the canonical name of a label; None if it is not known.

    Examples
    --------
    >>> canonical_name("Freude"), canonical_name("HAP"), canonical_name("anxious")
    ('happiness', 'happiness', None)
    """
    return KNOWN.get(_folded(spelling))
