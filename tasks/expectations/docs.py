"""Recorded validations as Great Expectations' own static site (Data Docs), made to open offline."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from collapse_lab.tasks.expectations import judgement

SITE = "collapse"
SUITE = "gates"
#: A record bears no date, and a page made from it bears none either: equal records, equal pages.
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)


def build(validations: Sequence[Mapping[str, Any]], folder: Path, title: str) -> Path:
    """Render ``validations`` (validation.json, one per node) into ``folder``; return its index.html."""
    judgement.quiet()
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        context.add_data_docs_site(SITE, _site(site))
        for validation in validations:
            _store(context, validation)
        context.build_data_docs(site_names=[SITE])
        pages = {page.stem: page for page in site.glob("validations/**/*.html")}
        for node, page in pages.items():
            page.write_text(_offline(page.read_text(encoding="utf-8"), node), encoding="utf-8")
        links = {node: page.relative_to(site).as_posix() for node, page in pages.items()}
        # Great Expectations' own index is drawn by scripts from the network, and is empty without them.
        (site / "index.html").write_text(_index(validations, links, title), encoding="utf-8")
        shutil.rmtree(site / "static")
        shutil.copytree(site, folder, dirs_exist_ok=True)
    return folder / "index.html"


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _store(context: Any, validation: Mapping[str, Any]) -> None:
    node = validation["node"]
    results = [_result(gate) for gate in validation["gates"]]
    good = sum(result.success for result in results)
    run = RunIdentifier(run_name=node, run_time=UNDATED)
    whole = ExpectationSuiteValidationResult(
        success=validation["success"],
        results=results,
        suite_name=SUITE,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100.0 * good / len(results) if results else None,
        },
        meta={
            "run_id": run,
            "validation_time": UNDATED.isoformat(),
            "batch_spec": {},
            "batch_markers": {},
            "active_batch_definition": {"data_asset_name": node, "datasource_name": "collapse"},
        },
        batch_id=node,
    )
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(SUITE), run, node)
    context.validation_results_store.set(key, whole)


def _result(gate: Mapping[str, Any]) -> ExpectationValidationResult:
    return ExpectationValidationResult(
        success=gate["success"],
        expectation_config=ExpectationConfiguration(
            # The parent's renderer shows the sentence; the class itself need not be registered here.
            type="expect_column_median_to_be_between",
            kwargs={"column": gate["gate"], "min_value": gate["min"], "max_value": gate["max"]},
            description=f"{gate['description']} ({_bounds(gate)}; a failure means: {gate['action']})",
        ),
        result={"observed_value": gate["observed"]},
        exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
    )


def _bounds(gate: Mapping[str, Any]) -> str:
    low, high = gate["min"], gate["max"]
    if low is not None and low == high:
        return f"exactly {low:.10g}"
    parts = [f"{word} {bound:.4g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    suffix = ", from the control band" if gate["threshold"] == "control" else ""
    return (" and ".join(parts) or "no band") + suffix


# --------------------------------------------------------------------------------------------- pages

STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1.5rem;color:#1c1c1c;background:#fff}
h1{font-size:1.5rem}h4,h5,h6{font-size:1rem;margin:.4rem 0}a{color:#0b5cad}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #ddd;vertical-align:top}
td:last-child,th:last-child{width:10rem}
ol.breadcrumb{list-style:none;padding:0}nav ul{list-style:none;padding:0;columns:3}
.show-scrollbars{overflow:visible}
.btn-group,.card.mb-3,[data-toggle=collapse],#section-1-content-block-3{display:none}
.fa-check-circle::before,.ok::before{content:"\\2713";color:#0a7d32}
.fa-times::before,.bad::before{content:"\\2717";color:#b3261e;font-weight:700}
i{font-style:normal}
@media (prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#7db8f5}th,td{border-color:#444}}
</style>"""

#: What a page of Great Expectations loads from the network, or offers and cannot do without it.
NETWORK = re.compile(
    r"""<link\b[^>]*>|<script\b[^>]*?src="https?://[^>]*>\s*</script>|<img\b[^>]*?https?://[^>]*>"""
    r"""|<footer\b.*?</footer>|<style\b.*?</style>|<script\b.*?</script>""",
    re.DOTALL,
)


def _offline(page: str, node: str) -> str:
    """Return the page without network requests and scripts, in a style of our own."""
    page = NETWORK.sub("", page)
    page = re.sub(rf'<a\s+href="[^"]*expectations/{SUITE}\.html"\s*>{SUITE}</a>', SUITE, page)
    page = re.sub(r" / 1970-01-01T00:00:00Z|<title>.*?</title>", "", page)
    page = page.replace("Data asset: None", f"Node: {node}")
    return page.replace("<head>", f"<head><title>{node}</title>{STYLE}", 1)


def _index(validations: Sequence[Mapping[str, Any]], links: Mapping[str, str], title: str) -> str:
    rows = []
    for validation in validations:
        node, gates = validation["node"], validation["gates"]
        failed = ", ".join(gate["gate"] for gate in gates if not gate["success"]) or "none"
        if not gates:
            failed = "not judged: an earlier node was halted"
        mark = "ok" if validation["success"] else "bad"
        rows.append(f'<tr><td><i class="{mark}"></i></td><td><a href="{links[node]}">{escape(node)}</a></td>'
                    f"<td>{escape(validation['outcome'])}</td><td>{escape(failed)}</td></tr>")
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>'
            f'{escape(title)}</title>{STYLE}'
            '<style>td:first-child,th:first-child{width:1rem}td:last-child,th:last-child{width:auto}</style></head><body>'
            f"<h1>{escape(title)}: expectations</h1><table><thead><tr><th></th><th>Node</th><th>Outcome</th>"
            f"<th>Gates that failed</th></tr></thead><tbody>{''.join(rows)}</tbody></table></body></html>\n")
