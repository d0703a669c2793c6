"""What a partition tells in the UI: figures and words that an on-call needs.

Here: metadata from what was written. Not here: what was written (store/write.py), the same on a terminal (cli.py)."""

from __future__ import annotations

from typing import Any

import dagster as dg

from refresh_assets.errors import FAILURES, MEANING, ExceptionCode
from refresh_assets.store.write import Written


def told(outcome: Written | dict[str, Any], seconds: float) -> dict[str, Any]:
    """Metadata of one day of one asset."""
    if isinstance(outcome, dict):
        return {**outcome, "seconds": round(seconds, 3)}
    skipped = sum(
        number
        for code, number in outcome.codes.items()
        if code in {"too_few_symbols", "no_public_value", "nothing_held"}
    )
    metadata: dict[str, Any] = {
        "portfolios_due": outcome.portfolios + skipped + outcome.failed,
        "portfolios_done": outcome.portfolios,
        "portfolios_partial": outcome.partial,
        "portfolios_skipped": skipped,
        "portfolios_failed": outcome.failed,
        "rows": outcome.rows,
        "exceptions": outcome.exceptions,
        "inputs_digest": outcome.inputs_digest,
        "seconds": round(seconds, 3),
        "dagster/partition_row_count": outcome.rows,
    }
    if outcome.coverage is not None:
        metadata["coverage"] = round(outcome.coverage, 4)
    if outcome.codes:
        metadata["left_out"] = dg.MetadataValue.md(exceptions_table(outcome.codes))
    if outcome.restatement is not None:
        metadata["restated"] = restated_in_words(outcome)
    return metadata


def exceptions_table(codes: dict[str, int]) -> str:
    """Markdown: code, how many, what it means; failures first."""
    failures = {code.value for code in FAILURES}
    lines = ["| code | number | what it means |", "|---|---|---|"]
    for code in sorted(codes, key=lambda code: (code not in failures, code)):
        lines.append(f"| {code} | {codes[code]} | {MEANING[ExceptionCode(code)]} |")
    return "\n".join(lines)


def restated_in_words(outcome: Written) -> str:
    found = outcome.restatement
    assert found is not None
    if found.largest is None:
        return "inputs differ, no row changed"
    return (
        f"{found.rows} rows of {found.portfolios} portfolios changed; the largest: {found.column} of portfolio"
        f" {found.portfolio} from {found.old} to {found.new}"
    )
