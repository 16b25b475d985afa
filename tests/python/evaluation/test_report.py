"""The report: numbers, escapes and structure without a browser, and the slider in one where there is one."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.evaluation import Evaluation, Scorecard
from headrace.evaluation.baselines import LABELS
from headrace.evaluation.report.charts import inked
from headrace.evaluation.report.page import page

pytest.importorskip("jinja2")

HOSTILE = "<script>alert('x')</script>"
SECRET = "What is the <b>secret</b> & why?"

#: Where the page is made.
REPORT = Path(hr.__file__).parent / "evaluation" / "report"

#: Elements without an end.
VOID = {"meta", "input", "br"}


def made(model: str = HOSTILE) -> Evaluation:
    table = hr.datasets.simulate(400, 3)
    table = dataclasses.replace(
        table,
        models=("small", model, 'large"&'),
        cost={"<u>usd": table.cost, "seconds": table.cost * 1000.0},
        queries={**table.queries, "text": [f"{SECRET} {row}" for row in range(400)]},
        ids=[f"<i>{row}" for row in range(400)],
    )
    fitting, test = table.split(0.5)
    router = hr.Router(quality=hr.datasets.NoisyOracle(), max_depth=3).fit(fitting, budget=0.001)
    return hr.evaluate(router, test, fitting=fitting, estimation_cost=1e-5, n_resamples=60)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return made()


@pytest.fixture(scope="module")
def text(evaluation: Evaluation) -> str:
    return page(evaluation)


class Reader(HTMLParser):
    """Collects elements, ids, attributes and text, and checks that elements are nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "rect", "polyline", "polygon") or self.open[-1] == tag:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attrs, before = self.scripts[-1]
            self.scripts[-1] = (attrs, before + data)
        elif "style" not in self.open:
            self.text.append(data)
            if any(tag in ("th", "td") for tag in self.open):
                self.rows[-1][-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_well_formed(text: str) -> None:
    reader = read(text)
    assert text.startswith("<!DOCTYPE html>")
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.count["h1"] == reader.count["main"] == reader.count["style"] == 1
    assert ("html", "lang", "en") in reader.attributes
    # Every picture says what it is, or that it says nothing.
    pictures = [name for tag, name, _ in reader.attributes if tag == "svg" and name in ("aria-label", "aria-hidden")]
    assert len(pictures) == reader.count["svg"]
    labels = [value for tag, name, value in reader.attributes if (tag, name) == ("label", "for")]
    assert labels == ["others", "budget"]


def test_nothing_comes_from_elsewhere(text: str) -> None:
    reader = read(text)
    assert reader.count["link"] == reader.count["img"] == reader.count["iframe"] == 0
    assert not {name for _, name, _ in reader.attributes} & {"src", "href", "xlink:href", "onclick", "onload"}
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp", text)


def test_names_of_users_are_escaped(text: str) -> None:
    reader = read(text)
    assert HOSTILE not in text
    # One script of data and one of the page, and no third one.
    assert reader.count["script"] == 2
    assert reader.count["i"] == 9, "only the cells of the flow"
    assert reader.count["u"] == 0
    assert HOSTILE in " ".join(reader.text)
    # In the charts, too: the axis and the dots are named.
    assert "mean <u>usd per query (logarithmic)" in reader.text
    assert f"{HOSTILE[:23]}…" in reader.text
    data = json.loads(reader.scripts[0][1])
    assert data["models"] == ["small", HOSTILE, 'large"&']
    assert "<" not in reader.scripts[0][1]


def test_a_title_is_escaped(evaluation: Evaluation) -> None:
    text = page(evaluation, title="</title><script>")
    assert read(text).count["script"] == 2


def test_the_data_are_those_of_the_evaluation(text: str, evaluation: Evaluation) -> None:
    attributes, content = read(text).scripts[0]
    assert attributes == {"type": "application/json", "id": "path"}
    data = json.loads(content)
    router = evaluation["router"]
    for name, values in (("budgets", evaluation.budgets), ("cost", router.cost), ("quality", router.quality)):
        np.testing.assert_array_equal(data[name], values)
    np.testing.assert_allclose(data["answers"], evaluation.answers, atol=1e-5)
    np.testing.assert_allclose(data["flows"], evaluation.flows, atol=1e-5)
    assert np.shape(data["flows"]) == (len(evaluation.budgets), 3, 3)
    assert len(data["x"]) == len(data["y"]) == len(data["low"]) == len(data["high"]) == len(evaluation.budgets)


def test_all_numbers_are_there(text: str, evaluation: Evaluation) -> None:
    reader = read(text)
    words = " ".join(reader.text)
    for sentence in evaluation.verdict:
        assert sentence in words
    rows = {row[0]: row[1:] for row in reader.rows if row}
    low, high = evaluation["routing"].interval
    area = f"{100 * evaluation['routing'].area:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
    assert rows["routing"][0] == area
    value, low, high = evaluation.difference("router", "routing")
    assert rows["routing"][1] == f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    single = evaluation.singles[1]
    named = [row for row in reader.rows if row and row[0] == HOSTILE]
    assert any(row[1] == f"{single.cost.value:.4g}" for row in named)
    assert any(row[1] == f"{evaluation.latency[2].mean:.3g}" for row in named)
    assert f"Realised costs include {1e-05:.4g} per query for estimates." in words
    policy = evaluation.chosen.policy
    assert "Chosen at a budget of 0.001: cascade routing, cost weight" in words
    assert f"cost weight {policy.parameters[0]:.4g}" in words
    assert f"On the calibration queries: cost {evaluation.chosen.predicted_cost:.4g}, quality" in words
    # A plot of estimates for each model, the curve, and a swatch for each method that isn't in ink.
    assert reader.count["svg"] == 3 + 1 + len(evaluation.methods) - len(inked(evaluation))
    assert reader.count["details"] == len(evaluation.examples) + 1


def test_what_the_slider_shows_first_is_the_chosen_budget(text: str, evaluation: Evaluation) -> None:
    reader = read(text)
    slider = {name: value for tag, name, value in reader.attributes if tag == "input"}
    assert (slider["value"], slider["max"]) == (str(evaluation.at), str(len(evaluation.budgets) - 1))
    quality = f"{100 * evaluation['router'].quality[evaluation.at]:.1f}%"
    assert f'<span id="at-quality">{quality}</span>' in text


def test_texts_of_queries_are_shown_only_when_asked(text: str, evaluation: Evaluation) -> None:
    assert "secret" not in text
    shown = page(evaluation, show_text=True)
    assert "What is the &lt;b&gt;secret&lt;/b&gt; &amp; why?" in shown
    assert read(shown).count["b"] == 0
    assert "secret" not in json.dumps(evaluation.to_dict())


def test_light_dark_and_paper_have_their_styles(text: str) -> None:
    for wanted in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark", "width=device-width"):
        assert wanted in text


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrasts_suffice(mode: int, text: str) -> None:
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for lines and markers."""
    block = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[mode]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for name, colour in colours.items():
        least = 4.5 if name in ("text", "soft") else 3.0
        for ground in ("page", "panel") if name in ("text", "soft") else ("page",):
            light, dark = sorted((luminance(colour), luminance(colours[ground])), reverse=True)
            if name not in ("page", "panel", "line"):
                assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)


def test_a_report_is_written_whole_or_not_at_all(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = evaluation.report(tmp_path / "out.html", title="Mine")
    assert target.read_text(encoding="utf-8") == page(evaluation, title="Mine")
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        evaluation.report(tmp_path / "other.html")
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


def test_a_free_model_and_no_extras_can_be_drawn() -> None:
    rng = np.random.default_rng(1)
    hint = rng.normal(size=200)
    table = hr.Outcomes(
        models=["free", "costly"], quality=np.stack([hint > 0, hint < 1], axis=1), cost=[0.0, 2.0], queries={"h": hint}
    )
    fitting, test = table.split(0.5)
    result = hr.evaluate(hr.Router().fit(fitting), test, baselines=[], n_examples=0, n_resamples=20)
    text = page(result)
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert read(text).count["details"] == 1, "only the words of the methods"


def test_a_notebook_shows_verdict_and_methods_escaped(evaluation: Evaluation) -> None:
    shown = evaluation._repr_html_()
    assert shown is not None
    reader = read(shown)
    assert HOSTILE not in shown
    words = " ".join(reader.text)
    assert all(sentence in words for sentence in evaluation.verdict)
    assert [row[0] for row in reader.rows[1:]] == [LABELS[method.name] for method in evaluation.methods]
    hostile = dataclasses.replace(evaluation, models=(HOSTILE,) * 3, singles=tuple(
        single._replace(model=HOSTILE) for single in evaluation.singles
    ))  # fmt: skip
    shown = hostile._repr_html_()
    assert shown is not None
    assert HOSTILE not in shown
    assert HOSTILE in " ".join(read(shown).text)


def test_without_jinja2_a_notebook_shows_the_text_and_a_page_says_what_is_missing(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert evaluation._repr_html_() is None
    with pytest.raises(ImportError, match=r"^a page needs jinja2: pip install 'headrace\[report\]'$"):
        evaluation.report(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_page_needs_the_numbers_only(evaluation: Evaluation) -> None:
    card = Scorecard(**{field.name: getattr(evaluation, field.name) for field in dataclasses.fields(Scorecard)})
    assert page(card) == page(evaluation)


@pytest.mark.parametrize("path", sorted(REPORT.glob("*.py")), ids=lambda path: path.stem)
def test_words_and_pages_stand_above_the_numbers(path: Path) -> None:
    assert "headrace.evaluation.evaluation" not in path.read_text(encoding="utf-8")
    # What the templates put in as it is: two files of our own, and charts that were escaped when they were written.
    for template in REPORT.glob("*.html"):
        safe = re.findall(r"\{\{ *([\w.]+)\|safe", template.read_text(encoding="utf-8"))
        assert set(safe) <= {"css", "js", "curve", "line", "plot.svg"}


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def browsed(page: Path, tmp_path: Path) -> tuple[str, str]:
    """Load a page: what is shown, and what the browser said, its console too."""
    assert BROWSER is not None  # else skipped
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--enable-logging=stderr", "--dump-dom", page.as_uri()]
    ended = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=90, check=True)
    return ended.stdout, ended.stderr


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_errors_of_a_page_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<script>nothing.at.all</script>")
    assert "CONSOLE" in browsed(tmp_path / "bad.html", tmp_path)[1]


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_paper_shows_the_decisions(evaluation: Evaluation, tmp_path: Path) -> None:
    printed = "<script>dispatchEvent(new Event('beforeprint'));</script></body>"
    source = tmp_path / "printed.html"
    source.write_text(page(evaluation).replace("</body>", printed), encoding="utf-8")
    shown, said = browsed(source, tmp_path)
    assert shown.count("<details open") == len(evaluation.examples) + 1 > 1
    assert "CONSOLE" not in said


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_slider_in_a_browser(evaluation: Evaluation, tmp_path: Path) -> None:
    last = len(evaluation.budgets) - 1
    moved = (
        "<script>const s = document.getElementById('budget');"
        f"s.value = {last}; s.dispatchEvent(new Event('input'));</script></body>"
    )
    source = tmp_path / "moved.html"
    source.write_text(page(evaluation).replace("</body>", moved), encoding="utf-8")
    shown, said = browsed(source, tmp_path)
    assert "CONSOLE" not in said
    quality = f"{100 * evaluation['router'].quality[last]:.1f}%"
    assert f'<span id="at-quality">{quality}</span>' in shown
    assert f'id="run-2">{100 * evaluation.runs[last, 2]:.0f}%' in shown
    first, answer = np.unravel_index(evaluation.flows[last].argmax(), (3, 3))
    cell = re.search(rf'id="flow-{first}-{answer}".*?<span>(.*?)</span>', shown)
    assert cell is not None
    assert cell[1] == f"{100 * evaluation.flows[last, first, answer]:.1f}%"
