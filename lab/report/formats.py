"""What a report can be written as: each form is a module with one function, `render`.

It takes the `Report` and gives the text; all that it tells is in there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lab.report.story import Report

FORMATS: Final[dict[str, str]] = {
    "json": "write everything as JSON; lab report makes the other forms of it",
    "html": "write a page too, to step through in a browser",
    "junit": "write JUnit XML too, which every CI shows as a table of tests",
    "sarif": "write SARIF 2.1.0 too, for code scanning",
    "markdown": "write Markdown too, for a comment or a summary",
    "trace": "write the steps as a Chrome trace too, for ui.perfetto.dev",
}
"""The option that asks for a form, and what it is good for."""


def rendered(form: str, report: Report) -> str:
    """The report in the form of that name."""
    match form:
        case "json":
            from lab.report.json import render
        case "html":
            from lab.report.html import render
        case "junit":
            from lab.report.junit import render
        case "sarif":
            from lab.report.sarif import render
        case "markdown":
            from lab.report.markdown import render
        case "trace":
            from lab.report.perfetto import render
        case _:
            raise ValueError(form)
    return render(report)
