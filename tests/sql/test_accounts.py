"""The only account of a ledger."""

from __future__ import annotations

import uuid

from tests.sql.two_users import Db, entry


def test_the_only_account_is_told_while_it_is_the_only_one(db: Db) -> None:
    db.execute("delete from public.token_usage_accounts")
    assert entry(db, "only_account") == [(None,)]
    first, second = uuid.uuid4(), uuid.uuid4()
    entry(db, "make_account", p_user_id=first, p_time_zone="UTC")
    assert entry(db, "only_account") == [(first,)]
    entry(db, "make_account", p_user_id=second, p_time_zone="UTC")
    assert entry(db, "only_account") == [(None,)]
