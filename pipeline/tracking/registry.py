"""The registered model: one version per content, the newest as challenger, the best as champion."""

from dataclasses import dataclass

from pipeline.common.files import sha256_file
from pipeline.common.layout import Layout
from pipeline.params.tree import Params
from pipeline.tracking.connection import exclusive, plain_errors
from pipeline.tracking.contest import DecodeAgain, judge
from pipeline.tracking.runs import CONTENT
from pipeline.tracking.session import Session, open_session
from pipeline.tracking.succession import CHALLENGER, Succession
from pipeline.tracking.versions import MEASURED, ORIGIN, log_version, measured, read_challenger, tags

OUTCOME, REASON = "promotion", "promotion.reason"
JUDGED = "roskd.judged"
"""The tag that a version gets when its judgement is carried out; its value says whether registry.force was true."""
FORCED, BY_RULE = "forced", "by rule"


@dataclass(frozen=True)
class Registration:
    """A version of the registered model, its aliases, and why it is champion or not; `str` is for the console."""

    model: str
    version: str
    aliases: tuple[str, ...]
    created: bool
    reason: str

    def __str__(self) -> str:
        state = "new" if self.created else "unchanged"
        return f"model {self.model} version {self.version} ({state}): {' and '.join(self.aliases)}; {self.reason}"


def model_name(params: Params) -> str:
    """The registered model of a data source."""
    return f"roskd-{params.data.source}"


def register(params: Params, layout: Layout, decode_again: DecodeAgain | None = None) -> Registration | None:
    """Register the exported student as `mirror` does, after it; None where tracking is off."""
    if not params.tracking.enabled:
        return None
    return register_in(open_session(params, layout), params, layout, decode_again)


def register_in(
    session: Session, params: Params, layout: Layout, decode_again: DecodeAgain | None = None
) -> Registration:
    """Register the exported student once per content, as challenger, and as champion where it deserves it.

    A version is judged once, and once more when `registry.force` becomes true: an alias that a person moves afterwards
    stays where it was put. Killed between two writes, the next run goes on from there. Raises UserError where the
    served method's run or its predictions are missing.
    """
    name, challenger = model_name(params), read_challenger(params, layout)
    carried = tags(session, params, layout, challenger)
    with plain_errors(session.uri), exclusive(session.uri):
        versions = session.client.search_model_versions(f"name = '{name}'")
        known = next((v for v in versions if v.tags.get(CONTENT) == carried[CONTENT]), None)
        if known is None or known.tags.get(MEASURED) != sha256_file(challenger.predictions):
            carried |= measured(challenger, params.split.seed)
        version = str(known.version) if known else log_version(session, params, layout, name, challenger, carried)
        held = dict(known.tags) if known else carried
        kept = {key for key in ORIGIN if key in held}
        changed = {key: value for key, value in carried.items() if key not in kept and held.get(key) != value}
        _tag(session, name, version, changed)
        succession = Succession(session.client, name)
        if succession.aliases().get(CHALLENGER) != version:
            session.client.set_registered_model_alias(name, CHALLENGER, version)
        champion, judged = succession.champion(), held.get(JUDGED)
        due = judged is None or not champion or (params.registry.force and judged != FORCED)
        if due and champion != version:
            rival = next((v for v in versions if str(v.version) == champion), None)
            verdict = judge(params, layout, challenger, carried, rival, decode_again)
            _tag(session, name, version, {OUTCOME: verdict.outcome, REASON: verdict.reason})
            if verdict.promoted:
                succession.crown(version)
            reason = verdict.reason
        else:
            reason = "the champion already" if champion == version else f"judged before: {held.get(REASON, 'by hand')}"
        if due:
            _seal(session, params, name, version)
        aliases = sorted((alias for alias, one in succession.aliases().items() if one == version), key=_rank)
        if (present := succession.champion()) != version:
            reason += f"; version {present} stays champion (`python -m pipeline.registry promote {version}` changes it)"
    return Registration(name, version, tuple(aliases), known is None, reason)


def note(outcome: str, reason: str, carried: dict[str, str]) -> str:
    """Return the description of a version, in Markdown: what became of it and why, and where it is from."""
    facts = {
        "figures": ", ".join(
            f"{key} {float(carried[key]):.4f} ({carried[f'{key}.interval']})"
            for key in ("val/f1_macro", "val/auroc_macro", "test/f1_macro", "test/auroc_macro")
            if f"{key}.interval" in carried
        ),
        "data": carried.get("data_hash", ""),
        "parameters": carried.get("params_hash", ""),
        "commit": carried.get("mlflow.source.git.commit", ""),
        "teachers": carried.get("teachers", ""),
    }
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)
    return f"{outcome}: {reason}\n\n{listed}"


def _seal(session: Session, params: Params, name: str, version: str) -> None:
    """Write the description, and then that the judgement is done; a promotion may have been written by a killed run."""
    held = dict(session.client.get_model_version(name, version).tags)
    reason = held.get(REASON, "made champion by hand")
    session.client.update_model_version(name, version, note(held.get(OUTCOME, "promoted"), reason, held))
    _tag(session, name, version, {JUDGED: FORCED if params.registry.force else BY_RULE})


def _tag(session: Session, name: str, version: str, wanted: dict[str, str]) -> None:
    for key, value in wanted.items():
        session.client.set_model_version_tag(name, version, key, value)


def _rank(alias: str) -> tuple[bool, str]:
    return alias != CHALLENGER, alias
