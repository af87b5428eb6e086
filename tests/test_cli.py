"""The command line as people run it: exit codes, one clear message, data on stdout, talk on stderr.

Bad input is given to `main` in this process, which is what the console script calls; a few real
processes prove that nothing else stands between the two.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
import yaml
from typer.main import get_command

from notus import cli
from notus.feedback.families import FAMILIES
from notus.stages.feedback import write_prompts
from tiny import save_model

MESSAGE = re.compile(r"error: .+\n  expected: .+\n  where:    .+\n  do this:  .+\n\Z")


class Done(NamedTuple):
    code: int
    out: str
    err: str


Notus = Callable[..., Done]


@pytest.fixture
def notus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Notus:
    """Run the command line on arguments."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["notus", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            return Done(code, *capsys.readouterr())
        return Done(0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [{"prompt": f"Q{i}?", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny", window=512)


def write_recipe(folder: Path, source: Path, base: object, **data: object) -> Path:
    lengths = {"max_length": 96, "max_prompt_length": 64, "holdout": 0.25}
    content = {
        "name": "small",
        "model": {"base": str(base)},
        "data": {"source": str(source), **lengths, **data},
        "binarize": {"strategy": "given"},
        "train": {"pairs_per_step": 4, "report_to": [], "precision": "float32"},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def assert_bad(done: Done, *words: str) -> None:
    """Exit code 2, nothing on stdout, and one message in four parts that names what is wrong."""
    assert done.code == 2, done
    assert done.out == ""
    assert MESSAGE.search(done.err), done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


def test_a_truncated_line_is_refused_and_counted(notus: Notus, pairs: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_text(pairs.read_text("utf-8")[:-10], "utf-8")
    done = notus("ingest", cut, "--out", tmp_path / "out", "--max-refused", 0.2, "--json")
    assert done.code == 0
    facts = json.loads(done.out)
    assert (facts["rows"], facts["prompts"]) == (8, 7)
    assert facts["refused"] == {"not valid JSON": 1}
    (row,) = pl.read_parquet(tmp_path / "out" / "refused.parquet").to_dicts()
    assert row["place"] == "cut.jsonl:8"
    assert row["raw"].startswith('{"prompt": "Q7?"')
    assert_bad(
        notus("ingest", cut, "--out", tmp_path / "strict"),
        "1 of 8 rows refused (not valid JSON: 1)",
        "cut.jsonl:8",
        "--max-refused",
    )
    assert not (tmp_path / "strict").exists()


def test_an_empty_completion_is_refused_and_named(notus: Notus, tmp_path: Path) -> None:
    source = tmp_path / "empty.jsonl"
    rows = [{"prompt": "a", "chosen": "b", "rejected": " "}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    done = notus("ingest", source, "--out", tmp_path / "out")
    assert_bad(done, "1 of 1 rows refused (empty completion: 1)", "empty.jsonl:1")


@pytest.mark.parametrize("verb", ["audit", "binarize", "rate"])
def test_a_directory_without_manifest_is_never_read(
    notus: Notus, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "prompts.parquet").write_bytes(b"PAR1")
    done = notus(verb, tmp_path / "half", "--out", tmp_path / "out")
    assert_bad(done, "a directory without manifest.json", str(tmp_path / "half"))
    assert not (tmp_path / "out").exists()


def test_a_wrong_recipe_key_gets_the_nearest_one(
    notus: Notus, pairs: Path, model: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, pairs, model, max_lenght=96)
    done = notus("run", recipe, "--out", tmp_path / "run")
    assert_bad(done, "unknown key 'data.max_lenght'", "did you mean 'max_length'?", str(recipe))
    done = notus("run", recipe, "--set", "data.max_lenght=1", "--set", "train.betta=1")
    assert_bad(done, "'train.betta'", "did you mean 'beta'?")
    assert not (tmp_path / "run").exists()


def test_a_missing_model(notus: Notus, pairs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, pairs, tmp_path / "nowhere")
    assert_bad(notus("train", recipe, "--out", tmp_path / "run"), "no folder", "nowhere")
    assert_bad(notus("chat", tmp_path / "nowhere"), "no folder", "nowhere")
    assert_bad(notus("chat", "package:not_installed_here"), "pip install")


def test_a_prompt_longer_than_the_window(notus: Notus, model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "long.jsonl"
    prompts.write_text(json.dumps({"prompt": "word " * 600}) + "\n", "utf-8")
    done = notus("generate", prompts, "--model", model, "--out", tmp_path / "out")
    assert_bad(done, "a prompt of", "at most 512 tokens", "word word")
    assert not (tmp_path / "out").exists()


def test_lengths_beyond_the_window(notus: Notus, pairs: Path, model: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, pairs, model, max_length=1024)
    done = notus("train", recipe, "--out", tmp_path / "run")
    assert_bad(done, "max_length 1024", "at most 512 tokens", "--set data.max_length=512")


def test_names_that_are_not_known(notus: Notus, pairs: Path, tmp_path: Path) -> None:
    feedback, out = tmp_path / "feedback", tmp_path / "out"
    assert notus("ingest", pairs, "--out", feedback).code == 0
    assert_bad(notus("ingest", pairs, "--format", "csv", "--out", out), "csv", "pairs")
    assert_bad(notus("binarize", feedback, "--strategy", "best", "--out", out), "argilla-v1")
    assert_bad(notus("rate", feedback, "--rater", "me", "--out", out), "verifiable")
    assert_bad(notus("export", feedback, "--to", "xml", "--out", out), "ultrafeedback")
    assert_bad(notus("prompts", "--split", "dev", "--out", out), "'split' is 'dev'")
    assert_bad(notus("ingest", tmp_path / "none.jsonl", "--out", out), "none.jsonl")
    assert not out.exists()


def test_usage_that_the_parser_refuses(notus: Notus) -> None:
    for arguments in (["ingest"], ["nonsense"], ["run", "a", "b"], ["audit", ".", "--what"]):
        done = notus(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert "Traceback" not in done.err


def test_the_version_and_the_help(notus: Notus) -> None:
    assert notus("--version") == Done(0, f"{metadata.version('notus')}\n", "")
    shown = notus("--help")
    assert (shown.code, shown.err) == (0, "")
    assert all(name in shown.out for name in get_command(cli.app).commands)  # type: ignore[attr-defined]


def test_every_verb_takes_json_and_every_verb_with_settings_set() -> None:
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    verbs = {**verbs, **{f"review {name}": one for name, one in verbs["review"].commands.items()}}
    del verbs["review"]
    for name, command in verbs.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, name
        without = name in ("report", "card", "trace", "publish") or name.startswith("review ")
        assert ("--set" in options) != without, name


def test_set_reaches_each_verb_like_its_option(notus: Notus, pairs: Path, tmp_path: Path) -> None:
    def facts(*arguments: object) -> dict[str, object]:
        done = notus(*arguments, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    feedback = tmp_path / "feedback"
    found = facts("ingest", pairs, "--out", feedback, "--set", "format=pairs")
    assert (found["format"], found["reused"]) == ("pairs", False)
    assert facts("ingest", pairs, "--out", feedback, "--format", "pairs")["reused"] is True
    found = facts("binarize", feedback, "--out", tmp_path / "p", "--set", "strategy=given")
    assert (found["strategy"], found["preferences"]) == ("given", 8)
    found = facts(
        "audit", feedback, "--out", tmp_path / "audit", "--set", "strategies=[argilla-v1]"
    )
    assert found["strategies"] == {"given": 8}
    assert found["strategies_skipped"] == {"argilla-v1": "no value; rated are preference"}
    found = facts("prompts", "--out", tmp_path / "p.jsonl", "--set", "per_family=1")
    assert found == {"prompts": len(FAMILIES) - 1, "families": len(FAMILIES) - 1}
    assert_bad(
        notus("prompts", "--out", tmp_path / "p.jsonl", "--set", "per_familly=1"),
        "did you mean 'per_family'?",
    )


def test_a_number_of_prompts_that_a_family_does_not_have(notus: Notus, tmp_path: Path) -> None:
    done = notus("prompts", "--out", tmp_path / "p.jsonl", "--per-family", 100_000)
    assert_bad(done, "100000 prompts asked of family")


def test_generate_rate_export_and_back(notus: Notus, model: Path, tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl", split="train", per_family=1, seed=0)
    settings = ["--set", "temperatures=[0, 1.5]", "--set", "max_new_tokens=8"]
    done = notus(
        "generate", tmp_path / "prompts.jsonl", "--model", model, "--out", tmp_path / "made",
        *settings, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    made = json.loads(done.out)
    assert made["completions"] + made["duplicates"] + made["empty"] == 2 * made["prompts"]
    done = notus("rate", tmp_path / "made", "--out", tmp_path / "rated", "--json")
    assert json.loads(done.out)["ratings"] == 5 * made["completions"]
    raw = tmp_path / "raw.jsonl.gz"
    assert notus("export", tmp_path / "rated", "--to", "ultrafeedback", "--out", raw).code == 0
    done = notus("ingest", raw, "--out", tmp_path / "again", "--json")
    again = json.loads(done.out)
    assert (again["prompts"], again["completions"]) == (made["prompts"], made["completions"])
    one, two = (
        pl.read_parquet(tmp_path / name / "ratings.parquet").sort("completion_id", "aspect")
        for name in ("rated", "again")
    )
    assert one.equals(two)


def test_what_a_person_sees_is_aligned(notus: Notus, pairs: Path, tmp_path: Path) -> None:
    done = notus("ingest", pairs, "--out", tmp_path / "out")
    lines = done.out.splitlines()
    assert {line[: line.index("  ")] for line in lines} >= {"directory", "rows", "prompts"}
    width = max(len(line.split(" ")[0]) for line in lines)
    assert all(line[width : width + 2] == "  " and line[width + 2] != " " for line in lines)
    assert done.err.endswith(f"ingest: {tmp_path / 'out'}\n")
    assert notus("ingest", pairs, "--out", tmp_path / "out").err.endswith("(reused)\n")


def test_a_console_script_of_its_own_process(pairs: Path, model: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "notus"

    def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
        command = [str(script), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)  # type: ignore[call-overload,no-any-return]

    done = run("ingest", pairs, "--out", tmp_path / "out", "--json")
    assert (done.returncode, json.loads(done.stdout)["prompts"]) == (0, 8)
    done = run("binarize", tmp_path, "--out", tmp_path / "p")
    assert_bad(Done(done.returncode, done.stdout, done.stderr), "manifest.json")
    done = run("chat", model, "--json", input="Hi\n/quit\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == {"user", "assistant"}
