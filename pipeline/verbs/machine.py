"""The verb about the machine: doctor."""

import click

from pipeline import options
from pipeline.session import Session
from pipeline.workdir import Workdir


@click.command()
@options.common
def doctor(session: Session, workdir: Workdir) -> int:
    """Tell what this machine can do, and what is missing.

    \b
    Example: emostack doctor
    """
    from pipeline.doctor import examine

    findings = examine(workdir.root)
    lines = [
        f"{'problem' if f.is_problem else 'ok':>8}  {f.subject:<12} {f.text}" for f in findings
    ]
    problems = [f"{f.subject}: {f.text}" for f in findings if f.is_problem]
    facts = {f.subject: f.text for f in findings}
    session.result({"problems": problems, "facts": facts}, "\n".join(lines))
    return 1 if problems else 0
