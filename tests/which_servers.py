"""Which servers a test runs on: 15 and 18, and where it is about the ledger itself, a pooler and 17 too."""

from __future__ import annotations

# The rules of the ledger must hold behind a pooler that lends a server connection for one transaction at a time.
POOLED = ("tests.sql.", "tests.surface.test_ledger")
NOT_POOLED = {
    "test_a_connection_that_breaks_is_told_and_the_next_call_opens_another": (
        "a server connection that nobody is using is the pooler's own affair; tests/surface/test_pooler.py breaks the "
        "client's"
    ),
    "test_a_connection_that_breaks_is_opened_anew_and_the_call_goes_on": "the same",
    "test_sixteen_connections_with_one_key_never_pass_its_limit": "they would wait for a server connection instead",
    "test_of_first_uses_at_once_one_is_kept": "the same",
    "test_two_callers_with_the_same_users_in_other_orders_take_turns": "the same",
    "test_a_server_that_is_gone_is_unavailable_until_it_is_back": "the pooler remembers for a moment that it was gone",
    "test_a_batch_that_is_too_slow_is_halved_until_it_is_not": "sets a session's statement_timeout",
    "test_a_login_that_may_not_act_for_the_ledger_is_forbidden": "sets a session's authorization",
}
# Hosted Supabase runs 17, and PGlite is 17 in one process: one session and one database, in memory.
ON_17 = (
    "tests.sql.test_catalog",
    "tests.sql.test_ingest",
    "tests.sql.test_isolation",
    "tests.sql.test_isolation_roads",
    "tests.sql.test_report_access",
)
NOT_ON_17 = {
    "test_a_login_that_chose_no_role_works_for_nobody": (
        "its one session keeps the authorization that `set local session authorization` gave it for a transaction"
    ),
    "test_the_ledger_is_written_in_read_committed_alone": "needs a second session",
    "test_two_writers_of_one_user_take_turns_and_others_do_not_wait": "needs a second session",
    "test_a_writer_that_waits_too_long_is_told_to_come_again": "needs a second session",
}


# Where one server says it all.
ONLY_ON = {
    # what is tracked reaches the database through Ledger, which tests/surface/test_ledger.py tries on all of them
    "tests.surface.test_tracking": "18",
    "tests.surface.test_tracking_failures": "18",
    "tests.surface.test_tracking_garbage": "18",
    # it is about a database beside the embedded one, which is 18: a server of another version is the harder case
    "tests.surface.test_cli_database": "15",
}
# A property has all its examples on the version that the ledger is embedded with. On the others it is about what
# differs between servers, which most examples show, and not about the rare case, which is the same SQL's everywhere.
ALL_EXAMPLES_ON = "18"


def examples_of(server: str, max_examples: int) -> int:
    """How many examples of a property are tried on a server."""
    return max_examples if server == ALL_EXAMPLES_ON else max(10, max_examples // 4)


def server_names(module: str, test: str) -> list[str]:
    if module in ONLY_ON:
        return [ONLY_ON[module]]
    names = ["15"]
    if module in ON_17 and test not in NOT_ON_17:
        names.append("17")
    names.append("18")
    if module.startswith(POOLED) and test not in NOT_POOLED:
        names.append("pooled")
    return names
