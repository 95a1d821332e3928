"""A sentence that names a next command is tried: it is provoked, the command is taken out of it, run, and ends well.

No sentence is forgotten: those that name a command or an option are looked for in the source, and each must be claimed
by a situation here, or by another test that runs what it names.
"""

import ast
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure
from typer.main import get_command

from pipeline import control
from pipeline.cli import app as cli
from pipeline.marts import inputs, reading
from pipeline.replication import repair, verify
from pipeline.replication import replicate as copying
from tests.pipeline.lab import Lab

ROOT = Path(__file__).parents[3]
FOLDERS = ("contracts", "transforms", "generators", "pipeline", "dags")
NAME, TABLE, OTHER, STRANGER = "SearchQueries", "search_queries", "ModerationQueue", "Visitors"
Etl = Callable[..., tuple[int, str, str]]

# Finding the sentences ----------------------------------------------------------------------------------------------


def _options() -> set[str]:
    """Return every option that a command takes."""
    groups, found = [get_command(cli.app)], {"--help"}
    while groups:
        command = groups.pop()
        groups += getattr(command, "commands", {}).values()
        found |= {name for one in command.params for name in one.opts if name.startswith("--")}
    return found


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module, ``{}`` for what is filled in, without docstrings and what ``--help`` shows."""
    passed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            passed |= {first.value} if isinstance(first, ast.Expr) else set()
        elif isinstance(node, ast.keyword) and node.arg == "help":
            passed |= {node.value}
        if isinstance(node, ast.JoinedStr):
            passed |= set(node.values)
            yield node.lineno, "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed:
            yield node.lineno, node.value


@cache
def sentences() -> dict[str, str]:
    """Return every text of the product that names a next command or an option of one, and where it stands."""
    commands, options = "|".join(get_command(cli.app).commands), "|".join(sorted(_options()))
    made = "|".join(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # The demo names the program by a variable.
    names = re.compile(
        rf"\betl ({commands}|{{}} )|^\s*{{}} ({commands})\b|(?<![\w-])({options})\b(?!-)|\bmake ({made})\b"
    )
    return {
        text: f"{path.relative_to(ROOT)}:{line}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("dictionary.py", "reference.py")  # pages of docs
        for line, text in _texts(ast.parse(path.read_text()))
        if " " in text.strip() and names.search(text)  # an option alone is declared or passed on
    }


# Situations ---------------------------------------------------------------------------------------------------------

Arrange = Callable[[Any, Etl, pytest.MonkeyPatch], AbstractContextManager[None] | None]


@dataclass(frozen=True)
class Situation:
    """How a sentence comes about.

    Attributes:
        sentence: A part of it, as the source has it: of one sentence alone.
        arguments: Of the command that says it.
        way: What of it is run next, as a pattern: a command, or options that are added to the same command.
        arrange: What has happened before; what it undoes at its end is put right before the next command.
        more: Added to the next command: values that the sentence leaves to its reader, what keeps it short.
        instead: Whether the way replaces the last of the arguments.
        code: The exit code with which the sentence comes.
        again: Whether the first command must end well in the end.
    """

    sentence: str
    arguments: tuple[str, ...]
    way: str
    arrange: Arrange = lambda lab, etl, patch: None
    more: tuple[str, ...] = ()
    code: int = 2
    instead: bool = False
    again: bool = False


def _published(lab: Lab, *names: str) -> None:
    """Publish five documents of some collections."""
    names = names or (NAME,)
    lab.fill(**dict.fromkeys(names, 5))
    copying.replicate(lab.connections, names)


def _made_anew(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.fill(**{NAME: 7})


def _dropped(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.collection(NAME).drop()


def _differs(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_postgres(f"DELETE FROM replica.{TABLE} WHERE _id = (SELECT min(_id) FROM replica.{TABLE})")


def _many_more(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    invented = "to_jsonb(t) || jsonb_build_object('_id', md5(n::text))"
    lab.change_postgres(
        f"INSERT INTO replica.{TABLE} SELECT (jsonb_populate_record(NULL::replica.{TABLE}, {invented})).* "
        f"FROM (SELECT * FROM replica.{TABLE} LIMIT 1) t, generate_series(1, 9) n"
    )


def _differs_much(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    _differs(lab, etl, patch)
    return _patched(patch, repair, "BROKEN", 1)


def _elsewhere(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    moved = """source = jsonb_set(source::jsonb, '{database}', '"shop"')"""
    lab.change_postgres(f"UPDATE etl.published SET {moved} WHERE collection = '{NAME}'")


def _changed(lab: Lab) -> None:
    lab.collection(NAME).update_one({}, {"$set": {"results_count": 4}})


def _all_broken(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.collection(NAME).update_many({}, {"$set": {"results_count": "many"}})


def _all_deleted(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.collection(NAME).delete_many({})


def _one_refused(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    lab.fill(**{NAME: 5})
    lab.collection(NAME).insert_one({"refused": True})


def _refused_and_mended(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _one_refused(lab, etl, patch)
    copying.replicate(lab.connections, [NAME])
    lab.collection(NAME).update_one({"refused": True}, {"$set": {"refused": False}})


def _not_generated(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    lab.collection(OTHER).drop()
    lab.collection(OTHER).insert_one({"by": "hand"})


def _without_table(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_postgres(f"DROP TABLE replica.{TABLE}")


def _emptied(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_postgres(f"TRUNCATE replica.{TABLE}")


def _other_columns(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_postgres(f"ALTER TABLE replica.{TABLE} DROP COLUMN results_count")
    _changed(lab)


def _restored(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_clickhouse(f"ALTER TABLE replica.{TABLE}__data MODIFY COMMENT '20260101t000000_000000 {TABLE}'")
    _changed(lab)


def _not_followed(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _published(lab)
    lab.change_postgres(
        f"UPDATE etl.published SET published_at = NULL WHERE collection = '{NAME}' AND target = 'clickhouse'"
    )
    lab.change_clickhouse(f"DROP VIEW replica.{TABLE} SYNC", f"DROP TABLE replica.{TABLE}__data SYNC")


def _at_two_moments(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _refused_and_mended(lab, etl, patch)
    copying.replicate(lab.connections, [NAME], ["postgres"])


def _sources_at_two_moments(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    lab.collection(NAME).update_one({}, {"$set": {"results_count": 3}})
    copying.replicate(lab.connections, [NAME])


def _too_old(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    """Imitate MongoDB's answer: it keeps a gigabyte of changes at least."""
    _published(lab)

    def watch(*_: Any, **__: Any) -> None:
        raise OperationFailure("Resume of change stream was not possible", 286)

    return _patched(patch, Database, "watch", watch)


@contextmanager
def _patched(patch: pytest.MonkeyPatch, module: Any, name: str, value: Any) -> Iterator[None]:
    with patch.context() as patched:
        patched.setattr(module, name, value)
        yield


def _first(work: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function before which something happens that another command does meanwhile."""

    def after(*arguments: Any, **options: Any) -> Any:
        work()
        return function(*arguments, **options)

    return after


def _made_anew_meanwhile(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    _published(lab)
    return _patched(patch, copying, "load", _first(lambda: lab.fill(**{NAME: 7}), copying.load))


def _copied_meanwhile(lab: Lab, *names: str) -> None:
    with lab.another() as other:
        copying.replicate(other, names, allow_missing=True)


def _published_while_verified(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    _published(lab)
    patch.setattr(verify, "TRIES", 1)
    return _patched(patch, verify, "_compared", _first(lambda: _copied_meanwhile(lab, NAME), verify._compared))


def _published_while_computed(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    meanwhile = _first(lambda: _copied_meanwhile(lab, "SupportTickets"), reading.documents)
    return _patched(patch, inputs, "documents", meanwhile)


@contextmanager
def _somebody_publishes(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> Iterator[None]:
    _published(lab)
    _changed(lab)
    with lab.another() as other, other.postgres.transaction():
        control.lock_publishing(other.postgres)
        yield


@contextmanager
def _somebody_holds_the_table(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> Iterator[None]:
    _published(lab)
    _changed(lab)
    with lab.another() as other, other.postgres.transaction():
        other.postgres.execute(f"LOCK TABLE replica.{TABLE} IN SHARE MODE")
        yield


def _nothing_there(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    for name in (*lab.connections.entities, STRANGER):
        lab.collection(name).drop()


def _strangers(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    """Make a collection that no contract declares, and a folder for its contract."""
    folder = Path(tempfile.mkdtemp())
    patch.chdir(folder)
    contracts = folder / f"contracts-of-{lab.connections.mongo.database.name}"
    contracts.mkdir()
    patch.setenv("ETL_CONTRACTS", str(contracts))
    lab.collection(STRANGER).drop()
    lab.collection(STRANGER).insert_many([{"visits": number} for number in range(5)])


def _strangers_alone(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _nothing_there(lab, etl, patch)
    _strangers(lab, etl, patch)


def _many_strangers(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _strangers_alone(lab, etl, patch)
    for number in range(13):
        lab.collection(f"visitors{number}").insert_one({"visits": 1})


def _strangers_forgotten(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    assert etl("drop", STRANGER, "--yes")[0] == 0
    _strangers_alone(lab, etl, patch)


def _strangers_known(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    _strangers(lab, etl, patch)
    assert etl("contract", "infer", STRANGER)[0] == 0


def _filled(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> None:
    lab.fill(**{OTHER: 5})


@contextmanager
def _no_books(lab: Lab, etl: Etl, patch: pytest.MonkeyPatch) -> Iterator[None]:
    lab.fill(**{NAME: 5})
    with patch.context() as patched:
        patched.delenv("ETL_POSTGRES_URI")
        patched.setenv("ETL_HOME", "/there/is/no/such/folder")
        yield


_READ = ("UserSessions", "SearchQueries", "SupportTickets", "ModerationQueue")  # by the mart user_activity
_TRIED = "test_the_command_that_a_sentence_names_ends_well"
SITUATIONS = (
    # Before anything is replicated, and before all is.
    Situation("nothing replicated yet; run etl demo", ("status",), "etl replicate", _filled, code=0, again=True),
    Situation(
        "nothing replicated yet, so nothing is in quarantine", ("quarantine", "list"), "etl replicate", _no_books
    ),
    Situation(
        "not replicated yet; run etl replicate",
        ("verify", "EventLogs"),
        "etl replicate",
        more=("--allow-missing", "EventLogs"),
        again=True,
    ),
    Situation(
        "which are not replicated; run etl replicate",
        ("marts", "user_activity"),
        "etl replicate",
        more=("--allow-missing", *_READ),
        again=True,
    ),
    # What is published.
    Situation("run etl sync to bring all to one", ("marts", "user_activity"), "etl sync", _sources_at_two_moments),
    Situation(
        "while the marts were reading it; run etl marts again",
        ("marts", "ticket_resolution"),
        "etl marts",
        _published_while_computed,
        more=("ticket_resolution",),
    ),
    Situation(
        "was dropped or renamed; run etl replicate", ("sync",), "etl replicate", _made_anew, more=(NAME,), again=True
    ),
    Situation(
        "was dropped or renamed; run etl replicate {} --allow-missing",
        ("sync",),
        f"etl replicate {NAME} --allow-missing",
        _dropped,
        again=True,
    ),
    Situation("publish it as empty by --allow-missing", ("replicate", NAME, OTHER), "--allow-missing", _dropped),
    Situation("or etl replicate mends it", ("verify", NAME), "etl verify --repair", _differs, more=(NAME,), code=1),
    Situation(
        "are broken; run etl replicate instead",
        ("verify", NAME, "--repair"),
        "etl replicate",
        _differs_much,
        more=(NAME,),
    ),
    Situation(
        "on purpose by etl replicate --new-source",
        ("sync",),
        "etl replicate --new-source",
        _elsewhere,
        more=(NAME,),
        again=True,
    ),
    Situation("would be newly refused", ("sync",), "--max-quarantined 100%", _all_broken, code=1),
    Situation(
        "run etl replicate {} with",
        ("verify", NAME, "--repair"),
        f"etl replicate {NAME} with --allow-shrink",
        _many_more,
        code=1,
    ),
    Situation("would shrink from", ("sync",), "--allow-shrink", _all_deleted, code=1),
    Situation(
        "in quarantine; etl quarantine list tells why",
        ("replicate", NAME),
        "etl quarantine list",
        _one_refused,
        code=0,
    ),
    Situation(
        "--json tells on stdout what was exported", ("quarantine", "export", "--json"), "--output", more=("/dev/null",)
    ),
    Situation(
        "etl sync takes over what was changed", ("quarantine", "replay", NAME), "etl sync", _refused_and_mended, code=0
    ),
    Situation("etl quarantine list shows samples", ("quarantine", "show", "nobody"), "etl quarantine list"),
    Situation(
        "does not show one moment in both stores",
        ("quarantine", "replay", NAME),
        "etl replicate",
        _at_two_moments,
        more=(NAME,),
    ),
    Situation("; etl --help tells more", ("nonsense",), "etl --help"),
    Situation("--seed chooses a sample", ("verify", NAME, "--seed", "7"), "--sample", more=("50%",)),
    Situation(" of a sample ({}, --seed {})", ("verify", NAME, "--sample", "50%"), r"--seed \d+", code=0),
    Situation("or what it is a view of, is missing", ("sync",), f"etl replicate {NAME}", _without_table, code=1),
    Situation("somebody has emptied or changed it", ("sync",), f"etl replicate {NAME}", _emptied, code=1, again=True),
    Situation("declares other columns than", ("sync",), "etl replicate", _other_columns, more=(NAME,)),
    Situation("was restored or changed without the other", ("sync",), f"etl replicate {NAME}", _restored, code=1),
    Situation("and ClickHouse could not follow", ("sync",), f"etl replicate {NAME}", _not_followed),
    Situation(
        "was dropped, renamed or made again during the run",
        ("replicate", NAME),
        "etl replicate",
        _made_anew_meanwhile,
        more=(NAME,),
    ),
    Situation("oplog no longer reaches back", ("sync",), "etl replicate", _too_old, more=(NAME,)),
    Situation("was published anew during each of", ("verify", NAME), f"etl verify {NAME}", _published_while_verified),
    Situation(
        "gave up after {} (--wait, ETL_WAIT)", ("sync", "--wait", "1s"), "--wait", _somebody_publishes, more=("9s",)
    ),
    Situation(
        "held a lock for longer than is waited for",
        ("sync", "--wait", "1s"),
        "--wait",
        _somebody_holds_the_table,
        more=("9s",),
    ),
    Situation("where nobody can answer, add --yes", ("drop", NAME), "--yes", lambda lab, etl, patch: _published(lab)),
    # Collections that no contract declares.
    Situation(
        "export ETL_CONTRACTS={}; etl replicate {}",
        ("contract", "infer", STRANGER),
        f"etl replicate {STRANGER}",
        _strangers,
        code=0,
    ),
    Situation(
        "etl contract infer {} writes one", ("replicate", STRANGER), f"etl contract infer {STRANGER}", _strangers
    ),
    Situation("--replace writes anew", ("contract", "infer", STRANGER), "--replace", _strangers_known, code=0),
    # The last ones: they make collections anew, and take all away.
    Situation("--rows takes COLLECTION=N", ("generate", "--scale", "0", "--rows", "all"), r"\w+=1000", instead=True),
    Situation(
        "add --replace to drop them", ("generate", "--scale", "0", "--rows", f"{OTHER}=5"), "--replace", _not_generated
    ),
    Situation("etl contract infer writes contracts", ("replicate",), "etl contract infer", _strangers_alone),
    Situation("or run etl generate", ("replicate", NAME), "etl generate", _nothing_there, more=("--scale", "0.001")),
    Situation("or add --undeclared to copy", ("replicate", STRANGER), "--undeclared", _strangers),
    Situation("replicate --undeclared copies each", ("replicate",), "--undeclared", _strangers_forgotten),
    Situation(
        "export ETL_CONTRACTS={}; etl replicate", ("contract", "infer"), "etl replicate", _many_strangers, code=0
    ),
)

_DEBUG = "cli/test_cli.py::test_an_unexpected_error_is_one_sentence_unless_one_debugs"
# What only another test can try, and which one that is.
_UNFOLLOWED = "replication/test_special.py::test_sync_leaves_them_as_they_are_with_a_word"
_CAPPED = "replication/test_special.py::test_capped_collections_are_copied_only_where_that_is_accepted"
_ADVANCE = "test_advance.py::test_the_command_says_what_to_do_and_does_it"
ELSEWHERE = {
    "{} (etl --debug shows where)": _DEBUG,
    "(unexpected; etl --debug shows where)": _DEBUG,
    "etl psql    opens PostgreSQL in psql": "cli/test_demo.py::test_up_status_down",
    "etl down    stops them": "cli/test_demo.py::test_up_status_down",
    "{} up": "cli/test_demo.py::test_up_status_down",
    "{} psql -c 'TABLE marts": "cli/test_demo.py::test_up_status_down",
    "{} down": "cli/test_demo.py::test_up_status_down",
    "{} quarantine": "cli/test_demo.py::test_up_status_down",
    "so it goes with --watch": "cli/test_terminal.py::test_the_status_is_drawn_until_ctrl_c",
    "but its ranges cover {}, so nothing is proven": (
        "replication/test_workers.py::test_ranges_that_are_not_the_whole_prove_nothing"
    ),
    "What etl history prune and forget removed": (
        "replication/test_history.py::test_old_versions_are_removed_and_documents_forgotten"
    ),
    "export ETL_CONTRACTS={}; etl replicate{} -- {}": (
        "test_inference.py::test_what_is_pasted_has_names_that_are_seen_and_are_no_options"
    ),
    "was to have {} rows, and has {}": (
        "marts/test_incremental.py::"
        "test_rows_that_somebody_takes_away_meanwhile_are_told_and_all_is_computed_as_is_said"
    ),
    "former versions by nothing: restore the schema": "replication/test_history.py::test_a_proof_finds_what_is_wrong",
    "what it can't read at one moment, such as a capped": (
        "replication/test_presence.py::test_what_is_no_plain_collection_any_more_is_told_too"
    ),
    "more than the limit of {}; most of them": (
        "runs/test_shrinking.py::test_a_wrong_contract_empties_no_published_table"
    ),
    "if that surprises you; etl contract infer writes contracts": (
        "test_inference.py::test_strangers_are_copied_and_proven_under_contracts_that_were_found"
    ),
    "  {} contract infer": ("test_inference.py::test_strangers_are_copied_and_proven_under_contracts_that_were_found"),
    "and the one that took it again as well": "runtime/test_workers.py::test_what_ends_a_second_process_ends_all",
    "stop it by etl down": "engines/test_embedded.py::test_homes_that_are_older_than_their_passwords_get_them",
    "it stays as it is until the next etl replicate": _UNFOLLOWED,
    "nothing was done; etl replicate {}{} copies it anew": _UNFOLLOWED,
    "etl replicate takes it with --without-snapshot": (
        "replication/test_special.py::test_capped_collections_are_inferred_and_taken_whole"
    ),
    "etl replicate {} --without-snapshot copies it all the same": _CAPPED,
    "etl replicate --without-snapshot copies them as they are": _CAPPED,
    "etl marts --without-snapshot computes from it": "stores/test_mongo.py::test_a_capped_collection_is_told",
    "etl replicate {} copies to both": (
        "replication/test_held_alone.py::test_a_second_store_is_added_by_a_copy_to_both"
    ),
    "nothing was followed; run etl replicate {}": (
        "test_omitted.py::test_what_is_omitted_is_in_neither_store_nor_in_the_books"
    ),
    "which has not begun: run etl replicate {}, or etl sync": (
        "replication/test_history.py::test_a_mart_reads_all_versions"
    ),
    "was generated that could go on; run etl generate": _ADVANCE,
    "--advance goes on with what was generated": _ADVANCE,
    "and was not written so; name another file by -o, or add --replace": (
        "../contracts/test_dbt.py::test_a_file_of_somebody_s_own_is_not_replaced_without_a_word"
    ),
    # That a new folder works every test shows.
    "set ETL_HOME to a new folder and run etl replicate": "engines/test_embedded.py::test_a_foreign_cluster_is_named",
    # As in a situation above, but said by a task of Airflow.
    "a sample was compared; etl verify --sample": f"cli/{Path(__file__).name}::{_TRIED}",
    "etl verify --repair or the DAG replicate": f"cli/{Path(__file__).name}::{_TRIED}",
}


def _claim(text: str) -> str | None:
    """Return by what a sentence is claimed: the longest part of it that is."""
    claims = [*(one.sentence for one in SITUATIONS), *ELSEWHERE]
    return max((one for one in claims if one in text), key=len, default=None)


def test_every_sentence_that_names_a_next_command_is_tried() -> None:
    found = {text: _claim(text) for text in sentences()}
    untried = {place: text for text, place in sentences().items() if found[text] is None}
    assert not untried, "add a situation for them"
    stale = {*(one.sentence for one in SITUATIONS), *ELSEWHERE} - {*found.values()}
    assert not stale, "no sentence says this any more"
    assert len(found) == len({*found.values()}), "two sentences are claimed by one situation"
    for place in ELSEWHERE.values():
        file, test = place.split("::")
        assert f"def {test}(" in (ROOT / "tests/pipeline" / file).read_text(), f"{place} is gone"


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.sentence)
def test_the_command_that_a_sentence_names_ends_well(
    lab: Lab, etl: Etl, situation: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_MAX_SHRINK", "50%")
    with situation.arrange(lab, etl, monkeypatch) or nullcontext():
        code, *told = etl(*situation.arguments)
    said = " ".join(" ".join(told).split())
    assert code == situation.code, said
    (template,) = (one for one in sentences() if _claim(one) == situation.sentence)
    assert re.search(".*".join(re.escape(" ".join(one.split())) for one in template.strip().split("{}")), said), said
    found = re.search(rf"(?<![\w-]){situation.way}", said)
    assert found is not None, said
    first, *rest = (one for one in found[0].split() if one != "with")
    kept = situation.arguments[:-1] if situation.instead else situation.arguments
    following = (*rest, *situation.more) if first == "etl" else (*kept, first, *rest, *situation.more)
    code, *told = etl(*following)
    assert code == 0, f"{said}\n{' '.join(following)}\n{' '.join(told)}"
    if situation.again:
        code, *told = etl(*situation.arguments)
        assert code == 0, told
