"""Pages of the catalogue: what of a family is told where, and which mechanism shows which bug."""

from __future__ import annotations

from lab.catalogue import Case
from lab.report.pages import Exhibit, Family, Mechanism, family_page, index_page, without_reports
from lab.source import Difference
from tests.report.samples import BUG, FIX

NAME = BUG.family


def family(
    *, reports: dict[str, str] | None = None, shared: tuple[str, ...] = ("_queue",)
) -> Family:
    exhibit = Exhibit(
        Case(BUG, (FIX,)),
        {BUG.id: "A queue stays.\n\nNobody\nremoves it.", FIX.id: "It is removed."},
        {FIX.id: Difference(("-def left_behind():", "+def removed():"), shared)},
        reports or {},
    )
    return Family(NAME, "Queues that stay.\n\nThey have names.", (exhibit,), "def _queue(): ...")


def mechanism(*, families: tuple[str, ...] = (), scenarios: tuple[str, ...] = ()) -> Mechanism:
    return Mechanism("queue", "all", "order", "nothing", "it|stays", families, scenarios)


def test_a_page_tells_the_story_the_words_the_difference_and_both_reports() -> None:
    page = family_page(family(reports={BUG.id: "LEAK it stays", FIX.id: "PASSED it is gone"}))
    order = [
        "# Queues that stay\n",
        "They have names.",
        "| [left_behind](#left_behind) | leak, message-loss | removed |",
        "## left_behind\n",
        "Nobody removes it.",
        "```text\nLEAK it stays\n```",
        "### Mended by removed\n",
        "```diff\n-def left_behind():\n+def removed():\n```",
        "They also use `_queue`.",
        "```text\nPASSED it is gone\n```",
        "```py\ndef _queue(): ...\n```",
    ]
    places = [page.find(part) for part in order]
    assert -1 not in places
    assert places == sorted(places)


def test_without_reports_two_pages_of_the_same_code_are_equal() -> None:
    one = family_page(family(reports={BUG.id: "LEAK\n\n```", FIX.id: "PASSED"}))
    assert without_reports(one) != one
    assert without_reports(family_page(family())) == without_reports(
        family_page(family(reports={BUG.id: "LEAK on\nanother day"}))
    )
    assert without_reports(family_page(family(shared=()))) != without_reports(one)


def test_the_index_counts_bugs_and_fixes() -> None:
    page = index_page([family()], [])
    assert f"| [{NAME}]({NAME}.md) | Queues that stay | 1 | 1 |" in page
    assert "## The mechanisms" not in page


def test_a_mechanism_is_shown_by_the_bugs_of_its_family() -> None:
    page = index_page([family()], [mechanism(families=(NAME,))])
    link = f"[left_behind]({NAME}.md#left_behind)"
    assert rf"| queue | all | order | nothing | it\|stays | {link} |" in page


def test_a_mechanism_that_nothing_shows_is_left_out() -> None:
    assert "| queue |" not in index_page([family()], [mechanism(families=("other",))])


def test_a_bug_that_a_mechanism_names_is_not_shown_by_that_of_its_family() -> None:
    general = mechanism(families=(NAME,))
    named = mechanism(scenarios=(f"{NAME}.left_",))
    assert index_page([family()], [general, named]).count("| queue |") == 1


def test_a_mechanism_that_only_a_fix_uses_is_shown_beside_that_of_the_family() -> None:
    general = mechanism(families=(NAME,))
    named = mechanism(scenarios=(FIX.id,))
    assert index_page([family()], [general, named]).count("| queue |") == 2
