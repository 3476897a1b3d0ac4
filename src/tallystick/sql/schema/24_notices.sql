-- Who listens is told that a user's books changed.

create function tallystick.notice_channel(p_user_id uuid)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'token_usage_' || p_user_id;
end
$$;
comment on function tallystick.notice_channel(uuid) is 'The channel on which it is told that a user''s books changed.';

create function tallystick.notice_key(p_user_id uuid)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return hashtextextended(tallystick.notice_channel(p_user_id), 0);
end
$$;
comment on function tallystick.notice_key(uuid) is
  'The advisory lock that listeners share; two users with one key get notices too many, and none too few.';

-- A notice makes all commits of the database wait for each other, so it is given only while somebody listens: listeners
-- hold the lock, which is then refused here. Where it is had, it keeps who would listen waiting until all is committed.
create function tallystick.tell_listeners(p_user_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not pg_try_advisory_xact_lock(tallystick.notice_key(p_user_id)) then
    perform pg_notify(tallystick.notice_channel(p_user_id), '');
  end if;
end
$$;
comment on function tallystick.tell_listeners(uuid) is
  'Has an empty notice sent when this transaction commits, if anybody listens for this user''s.';

-- It waits in the queue of the lock, where the next writer already sees it: an import without a pause keeps nobody out.
create function tallystick.start_listening(p_user_id uuid)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '6s'
as $$
begin
  perform tallystick.check_caller(p_user_id);
  perform pg_advisory_lock_shared(tallystick.notice_key(p_user_id));
  return tallystick.notice_channel(p_user_id);
exception when lock_not_available then
  raise exception using errcode = 'PT503', constraint = 'account_is_free',
    message = 'another writer holds the books of this user', hint = 'Try again in a moment.';
end
$$;
comment on function tallystick.start_listening(uuid) is
  'Answers the channel to LISTEN on, on which notices come until the connection ends: never call it on a pooled one.';
revoke all on function tallystick.start_listening(uuid) from public, anon, authenticated;
grant execute on function tallystick.start_listening(uuid) to service_role;
