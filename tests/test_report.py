"""The report must be complete, self-contained, and harmless whatever the texts in it say."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import yaml

from fixture_run import HOSTILE, NUM_PLANTED, make_run
from notus.errors import IncompleteError
from notus.pages import TEXT_LIMIT, shown
from notus.report import write_report

VOID = {"meta", "br", "img", "link", "input", "hr", "path", "use", "rect", "line", "circle"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Page(HTMLParser):
    """Reads a page as a browser would, as far as tags, attributes and texts go."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def source(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_asks_for_nothing(page: Page, source: str) -> None:
    allowed = {"html", "head", "body", "meta", "title", "style", "header", "nav", "section"}
    allowed |= {"article", "figure", "figcaption", "footer", "div", "h1", "h2", "h3", "p", "a"}
    allowed |= {"ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td"}
    allowed |= {"small", "span", "code", "details", "summary", "svg", "defs", "clippath", "g"}
    allowed |= {"path", "use", "text", "tspan", "rect"}
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert (value or "").startswith("#"), (tag, name, value)
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)
    policies = [a for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policies == [{"http-equiv": "Content-Security-Policy", "content": POLICY}]


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_no_id_stands_twice_and_every_link_has_its_target(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for t, a in page.tags if t == "a"]
    assert len(links) == 6
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[1], HOSTILE[4].split("\n")[0]])
def test_hostile_text_is_shown_as_text(page: Page, text: str) -> None:
    assert text in page.text


def test_hostile_templates_and_entities_are_shown_as_text(page: Page) -> None:
    assert "{{ 7 * 7 }} {% raw %} &lt;b&gt; \ufffd\ufffd end" in page.text
    assert "\ufffdreversed\ufffd | a table | cell |" in page.text
    assert "empty completion <b>" in page.text


def test_no_path_of_the_machine(source: str, run: Path) -> None:
    assert "/somewhere/" not in source
    assert str(run.parent) not in source


def test_the_verdict_comes_first(page: Page) -> None:
    assert "With greedy answers the tuned model passes more held-out prompts" in page.text
    assert "with sampled answers no difference" in page.text
    text = page.text.replace("\u00a0", " ")
    assert text.index("difference +11.0 points (95 % interval") < text.index("Results Answers")


def test_the_planted_corner_is_counted(page: Page, run: Path) -> None:
    """In the fixture exactly the planted answers have a 10 and ratings of 1."""
    ratings = pl.read_parquet(run / "feedback" / "ratings.parquet")
    wide = ratings.pivot("aspect", index="completion_id", values="value")
    mean = pl.mean_horizontal("instruction_following", "honesty", "truthfulness", "helpfulness")
    corner = wide.filter((pl.col("overall") == 10) & (mean <= 2)).height
    top = wide.filter(pl.col("overall") == 10).height
    assert corner == NUM_PLANTED < top
    assert f"{corner} answers have the overall score 10 and a mean rating of at most 2" in page.text
    assert f"of {top} with a 10" in page.text
    assert page.text.count("It fails every constraint.") == NUM_PLANTED


def test_issues_are_counted_by_rule_and_severity(page: Page) -> None:
    assert "score_conflict completions whose overall score contradicts" in page.text
    assert "mean of their aspect ratings 4 1,234 0" in page.text
    assert re.search(r"arity prompts with fewer than two completions[^0-9]* 0 0 0", page.text)


def test_the_planted_bugs_are_named(page: Page, run: Path) -> None:
    planted = json.loads((run / "audit" / "planted.json").read_text())
    assert "4 of them sit in rows where argilla-v1 and h4-v2 disagree" in page.text
    assert "the rule score_conflict flagged 4" in page.text
    for row in planted["rows"]:
        assert row["completion_id"][:10] in page.text


def test_examples_show_all_outcomes_in_order(page: Page) -> None:
    outcomes = [text for text in page.texts if text in ("gained", "lost", "unchanged")]
    assert outcomes == ["gained"] * 3 + ["lost"] * 3 + ["unchanged"] * 2
    assert ", cut off at the token limit" in page.text
    # The fixture's longest answer is cut where the page says, and its rest is counted.
    rest = len("base: Rhine, Danube, Elbe. " + HOSTILE[1] + " and so on" * 300) - TEXT_LIMIT
    assert f"[... {rest:,} more characters]" in page.text


def test_preferences_and_refusals(page: Page) -> None:
    assert "46 pairs by argilla-v1" in page.text
    assert "chose another answer in 9: 19.6" in page.text
    assert "all ratings equal 1" in page.text
    assert "41 pairs trained on, 5 held out, 2 not drawn" in page.text
    assert ", 40 steps." in page.text


def test_what_training_showed(page: Page) -> None:
    """Signs, groups, time and answers, and whatever texts stand in them as text."""
    text = page.text.replace("\u00a0", " ")
    assert (
        f"displacement step 23 chosen answers of training pairs lost 0.11 nats a token {HOSTILE[0]}"
        in text
    )
    assert "Stopped by displacement" in text
    assert "The model is that of step 20." in text
    # Two groups of 40 and 42 pairs; 80 % of 42 by Wilson's interval.
    assert "truthful_qa, held-out 42 80.0 % 65.6 to 89.3 0." in text
    assert f"{HOSTILE[1]}, training 41" in text
    # 40 steps of 3.75 s and four evaluations of 9.1 s, of which 4 s are held-out pairs.
    assert "evaluation 16.0 s" in text
    assert "3 min 06 s in all" in text
    assert "93 GFLOP/s" in text
    assert "Steps whose gradient was clipped 100.0 %" in text
    base, _, policy = text.partition("base, step 0")[0].partition("policy, step 40")
    assert "base at 0, greedy: Baltic." in base
    assert "policy at 40, greedy: Baltic." in policy
    assert "policy at 20" not in text, "an earlier evaluation's"


def test_a_training_without_signs_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "training" / "warnings.jsonl").write_text("")
    manifest = run / "training" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["outputs"] = [o for o in facts["outputs"] if o["path"] != "warnings.jsonl"]
    manifest.write_text(json.dumps(facts))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "No sign of displacement, collapse" in page.text


def test_a_training_that_was_not_watched_shows_what_it_has(tmp_path: Path) -> None:
    """Metrics of a plain trainer, and no other file."""
    run = make_run(tmp_path)
    folder = run / "training"
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.7}\n{"step": 2, "loss": 0.6}\n')
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("warnings.jsonl", "samples.jsonl"):
        (folder / name).unlink()
    gone = ("warnings.jsonl", "samples.jsonl", "metrics.jsonl")
    manifest["outputs"] = [o for o in manifest["outputs"] if o["path"] not in gone]
    manifest["facts"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "Loss" in page.texts
    assert "No sign of" not in page.text
    for part in ("By source", "Where the time went", "Sample answers while it trained"):
        assert part not in page.text


def test_the_unseen_family_stands_apart(page: Page) -> None:
    before, _, after = page.text.partition("Never trained on")
    assert "all capitals, greedy" in after
    assert "all capitals, greedy" not in before


def test_the_same_run_gives_the_same_page(run: Path, source: str) -> None:
    assert write_report(run).read_text(encoding="utf-8") == source
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, evaluated=False)).read_text(encoding="utf-8"))
    assert "Trained, and not evaluated on held-out prompts." in page.text
    assert "This run has no pass rates" in page.text
    assert "points" not in page.text.split("Before and after")[0]


def test_feedback_without_overall_scores_says_so(tmp_path: Path) -> None:
    """Ratings of a pairs file: one aspect, nothing to compare it with."""
    run = make_run(tmp_path)
    path = run / "feedback" / "ratings.parquet"
    size = path.stat().st_size
    frame = pl.read_parquet(path).with_columns(aspect=pl.lit("preference"))
    frame.write_parquet(path)
    manifest = run / "feedback" / "manifest.json"
    text = manifest.read_text().replace(f'"bytes": {size}', f'"bytes": {path.stat().st_size}')
    manifest.write_text(text)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "no overall scores beside aspect ratings" in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"no recipe\.yaml"):
        write_report(tmp_path)


def test_an_unfinished_stage_is_never_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "evaluation" / "manifest.json").unlink()
    with pytest.raises(IncompleteError, match=r"without manifest\.json"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_run_without_feedback_tables(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in ("feedback", "audit", "preferences"):
        shutil.rmtree(run / name)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "This run holds no feedback tables." in page.text
    assert "This run holds no preference table." in page.text


def test_shown_cuts_and_counts() -> None:
    assert shown("abc", 3) == "abc"
    assert shown("a\x00b\x7fc\n\td\x1b", 99) == "a\ufffdb\ufffdc\n\td\ufffd"
    assert shown("x" * 2_000, 5) == "xxxxx [... 1,995 more characters]"


def test_the_method_is_the_recipes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["train"]["loss"] = "kto"
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    page = write_report(run).read_text(encoding="utf-8")
    assert "Kahneman-Tversky optimisation (KTO), arXiv 2402.01306." in page
    assert "preference optimisation against the base" not in page
