-- Keys of the HTTP API, and how many requests a caller may make in a minute.
--
-- The server makes a key, shows it once and keeps nothing of it: what comes here is its HMAC-SHA256 under a secret that
-- only the server has, so that neither this table nor a backup of it lets anybody in. No role reads the table; the
-- service role alone asks, through functions that never give the digest away.
--
-- Keys are credentials and no usage. Forgetting a user's books leaves them, as it leaves the account: they belong to
-- machines that go on sending, and are ended by revoke_api_key(). A revoked key stays too, so that it is still told who
-- had it and when it was last used.

create table tallystick.api_keys (
  key_id uuid not null default pg_catalog.gen_random_uuid(),
  user_id uuid,
  name text not null,
  prefix text collate "C" not null,
  digest bytea not null,
  scopes text[] collate "C" not null,
  requests_per_minute integer,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_pkey primary key (key_id),
  constraint api_keys_digest_is_unique unique (digest),
  constraint api_keys_prefix_is_unique unique (prefix),
  constraint api_keys_digest_is_sha256 check (octet_length(digest) = 32),
  constraint api_keys_name_is_1_to_100 check (length(name) between 1 and 100),
  constraint api_keys_prefix_is_1_to_20 check (length(prefix) between 1 and 20),
  constraint api_keys_scopes_are_known check (
    cardinality(scopes) > 0 and scopes <@ array['admin', 'ingest', 'read']
  ),
  constraint api_keys_limit_is_positive check (requests_per_minute > 0),
  constraint api_keys_expire_after_creation check (expires_at > created_at)
)
with (fillfactor = 80);
comment on table tallystick.api_keys is
  'One row per key of the HTTP API, revoked ones too. Not usage: forgetting a user''s books leaves the keys.';
comment on column tallystick.api_keys.user_id is
  'Whom the key acts for; null is a service key, which acts for any user that it names.';
comment on column tallystick.api_keys.name is 'What its owner calls it.';
comment on column tallystick.api_keys.prefix is
  'How the key begins, to be shown to people; too short to be taken for a key_id, or for the key.';
comment on column tallystick.api_keys.digest is 'HMAC-SHA256 of the key, under a secret of the server.';
comment on column tallystick.api_keys.scopes is 'What it may do: any of ingest, read and admin.';
comment on column tallystick.api_keys.requests_per_minute is 'Null is the server''s default.';
comment on column tallystick.api_keys.expires_at is 'From then on it is unknown; null is never.';
comment on column tallystick.api_keys.revoked_at is 'From then on it is unknown.';
comment on column tallystick.api_keys.last_used_at is 'To the minute: it moves at most once a minute.';

-- Unlogged, so that a request costs no flush of the log: after a crash the minute that ran counts anew. The time leads
-- the key, so that the oldest windows are found without a second index.
create unlogged table tallystick.request_windows (
  window_start timestamptz not null,
  caller text collate "C" not null,
  request_count integer not null,
  constraint request_windows_pkey primary key (window_start, caller),
  constraint request_windows_have_requests check (request_count > 0)
)
with (fillfactor = 50);
comment on table tallystick.request_windows is
  'How many requests a caller was let through with in one minute; rows of more than an hour ago are swept.';
comment on column tallystick.request_windows.window_start is 'The full minute that it counts.';
comment on column tallystick.request_windows.caller is 'key:<key_id>, or user:<user_id> of somebody who signed in.';
comment on column tallystick.request_windows.request_count is 'Requests let through; a refused one is not counted.';

create function tallystick.key_digest(p_digest text)
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_digest is null or p_digest !~ '^[0-9a-f]{64}$' then
    raise exception using errcode = 'PT400', constraint = 'digest_is_64_hex',
      message = 'the digest of a key is 64 hexadecimal digits', hint = 'Pass HMAC-SHA256 of the key, in lower case.';
  end if;
  return decode(p_digest, 'hex');
end
$$;
comment on function tallystick.key_digest(text) is 'The digest of a key from its text; PT400 where it is none.';
revoke all on function tallystick.key_digest(text) from public, anon, authenticated;

create function tallystick.create_api_key(
  p_user_id uuid, p_name text, p_prefix text, p_digest text, p_scopes text[], p_expires_at timestamptz,
  p_requests_per_minute integer
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_scopes text[] := array(select distinct s from unnest(p_scopes) as s order by s);
  v_key_id uuid;
begin
  perform tallystick.check_service_caller();
  if p_name is null or btrim(p_name) = '' or length(p_name) > 100 then
    raise exception using errcode = 'PT400', constraint = 'name_is_1_to_100',
      message = 'the name of a key has 1 to 100 characters', hint = 'Say who or what will use it.';
  end if;
  if p_prefix is null or length(p_prefix) not between 1 and 20 then
    raise exception using errcode = 'PT400', constraint = 'prefix_is_1_to_20',
      message = 'the prefix of a key has 1 to 20 characters', hint = 'Pass what the key begins with, tly_ab12cd34.';
  end if;
  if cardinality(v_scopes) = 0 or not v_scopes <@ array['admin', 'ingest', 'read'] then
    raise exception using errcode = 'PT400', constraint = 'scopes_are_known',
      message = 'a key has one or more of the scopes ingest, read and admin', hint = 'Give it the least that will do.';
  end if;
  if p_expires_at <= v_now then
    raise exception using errcode = 'PT400', constraint = 'expiry_is_ahead',
      message = 'the key would have expired before it was made', hint = 'Pass a later time, or none.';
  end if;
  if p_requests_per_minute < 1 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_positive',
      message = 'a limit is one request per minute or more', hint = 'Revoke a key to keep it out.';
  end if;
  insert into tallystick.api_keys (
    user_id, name, prefix, digest, scopes, requests_per_minute, created_at, expires_at
  ) values (
    p_user_id, p_name, p_prefix, tallystick.key_digest(p_digest), v_scopes, p_requests_per_minute, v_now, p_expires_at
  )
  on conflict do nothing returning key_id into v_key_id;
  if v_key_id is null then
    raise exception using errcode = 'PT409', constraint = 'api_key_is_new',
      message = 'another key has this prefix or this digest', hint = 'Make another key.';
  end if;
  return v_key_id;
end
$$;
comment on function tallystick.create_api_key is 'Body of public.create_api_key.';
revoke all on function tallystick.create_api_key from public, anon, authenticated;
grant execute on function tallystick.create_api_key to service_role;

create function public.create_api_key(
  p_user_id uuid, p_name text, p_prefix text, p_digest text, p_scopes text[], p_expires_at timestamptz default null,
  p_requests_per_minute integer default null
)
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.create_api_key(
    p_user_id, p_name, p_prefix, p_digest, p_scopes, p_expires_at, p_requests_per_minute
  )
$$;
comment on function public.create_api_key is
  'Keeps a key of the HTTP API by its digest, 64 hexadecimal digits; p_user_id null is a service key, which acts for '
  'any user that it names.';
revoke all on function public.create_api_key from public, anon, authenticated;
grant execute on function public.create_api_key to service_role;

create function tallystick.api_keys(p_user_id uuid)
returns table (
  key_id uuid, user_id uuid, name text, prefix text, scopes text[], requests_per_minute integer,
  created_at timestamptz, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tallystick.check_service_caller();
  return query
  select k.key_id, k.user_id, k.name, k.prefix, k.scopes, k.requests_per_minute, k.created_at, k.expires_at,
    k.revoked_at, k.last_used_at
  from tallystick.api_keys as k
  where p_user_id is null or k.user_id = p_user_id
  order by k.created_at, k.key_id;
end
$$;
comment on function tallystick.api_keys(uuid) is 'Body of public.api_keys.';
revoke all on function tallystick.api_keys(uuid) from public, anon, authenticated;
grant execute on function tallystick.api_keys(uuid) to service_role;

create function public.api_keys(p_user_id uuid default null)
returns table (
  key_id uuid, user_id uuid, name text, prefix text, scopes text[], requests_per_minute integer,
  created_at timestamptz, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from tallystick.api_keys(p_user_id)
$$;
comment on function public.api_keys(uuid) is
  'The keys of the HTTP API, oldest first, revoked ones too: one user''s, or all of them where p_user_id is null.';
revoke all on function public.api_keys(uuid) from public, anon, authenticated;
grant execute on function public.api_keys(uuid) to service_role;

create function tallystick.revoke_api_key(p_key text)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key_id uuid;
begin
  perform tallystick.check_service_caller();
  update tallystick.api_keys as k set revoked_at = coalesce(k.revoked_at, tallystick.current_time())
  where k.prefix = p_key or k.key_id::text = lower(p_key)
  returning k.key_id into v_key_id;
  -- what was passed is not told again: it may be a key, copied whole
  if v_key_id is null then
    raise exception using errcode = 'PT404', constraint = 'api_key_exists',
      message = 'there is no such key', hint = 'Name it by its key_id or by its whole prefix.';
  end if;
  return v_key_id;
end
$$;
comment on function tallystick.revoke_api_key(text) is 'Body of public.revoke_api_key.';
revoke all on function tallystick.revoke_api_key(text) from public, anon, authenticated;
grant execute on function tallystick.revoke_api_key(text) to service_role;

create function public.revoke_api_key(p_key text)
returns uuid
language sql
set search_path = pg_catalog, pg_temp
as $$
  select tallystick.revoke_api_key(p_key)
$$;
comment on function public.revoke_api_key(text) is
  'Ends a key, named by its key_id or its whole prefix, and answers its key_id; doing so again changes nothing.';
revoke all on function public.revoke_api_key(text) from public, anon, authenticated;
grant execute on function public.revoke_api_key(text) to service_role;

-- Admission. The server alone calls the two functions below, for one HTTP request or, where a caller is busy, for some
-- ahead of them, so they have no entry in public. They want a transaction of their own: until its end a caller's other
-- requests wait for the window.

create type tallystick.admission as (
  admitted integer,
  request_limit integer,
  remaining integer,
  reset_s double precision
);
comment on type tallystick.admission is
  'How many requests were let through, the limit per minute, what is left of it, and seconds until the next minute.';

-- One upsert: requests that come at once take turns on the row, and where the minute is full it changes nothing and
-- answers nothing. Several requests at once are at most a hundredth of the limit, for those that are let through and
-- never come keep others out; towards the end of a limit they are let through one by one. The minutes are the clock's,
-- so a caller may use up one at its end and the next at its start.
create function tallystick.count_requests(p_caller text, p_limit integer, p_requests integer)
returns tallystick.admission
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_window_start timestamptz := date_bin('1 minute', v_now, 'epoch');
  v_requests integer;
  v_count integer;
begin
  if p_limit is null or p_limit < 1 then
    raise exception using errcode = 'PT400', constraint = 'limit_is_positive',
      message = 'a limit is one request per minute or more', hint = 'Pass how many requests a minute may have.';
  end if;
  if p_requests is null or p_requests < 1 then
    raise exception using errcode = 'PT400', constraint = 'requests_are_positive',
      message = 'a caller asks for one request or more', hint = 'Pass how many requests to let through.';
  end if;
  foreach v_requests in array array[least(p_requests, greatest(p_limit / 100, 1)), 1] loop
    insert into tallystick.request_windows as w (window_start, caller, request_count)
    values (v_window_start, p_caller, v_requests)
    on conflict (window_start, caller) do update set request_count = w.request_count + v_requests
    where w.request_count + v_requests <= p_limit
    returning w.request_count into v_count;
    exit when v_count is not null;
  end loop;
  -- Whoever opens a window sweeps a hundred old ones, so the sweep keeps ahead of what is left to sweep; locked ones
  -- are somebody else's sweep.
  if v_count = v_requests then
    delete from tallystick.request_windows as w
    using (
      select o.window_start, o.caller from tallystick.request_windows as o
      where o.window_start < v_window_start - interval '1 hour'
      order by o.window_start, o.caller limit 100 for update skip locked
    ) as old
    where w.window_start = old.window_start and w.caller = old.caller;
  end if;
  return row(
    case when v_count is null then 0 else v_requests end,
    p_limit,
    coalesce(p_limit - v_count, 0),
    extract(epoch from v_window_start + interval '1 minute' - v_now)::double precision
  )::tallystick.admission;
end
$$;
comment on function tallystick.count_requests(text, integer, integer) is
  'Counts requests in the minute that runs: as many as are asked for, or one, or none where it has had its limit.';
revoke all on function tallystick.count_requests(text, integer, integer) from public, anon, authenticated;

create function tallystick.admit_key(p_digest text, p_default_limit integer, p_requests integer default 1)
returns table (
  key_id uuid, user_id uuid, scopes text[], admitted integer, request_limit integer, remaining integer,
  reset_s double precision
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := tallystick.current_time();
  v_digest bytea;
  v_key tallystick.api_keys;
  v_admission tallystick.admission;
begin
  perform tallystick.check_service_caller();
  v_digest := tallystick.key_digest(p_digest);
  select k.* into v_key from tallystick.api_keys as k
  where k.digest = v_digest and k.revoked_at is null and coalesce(k.expires_at, 'infinity') > v_now;
  if v_key.key_id is null then
    return;
  end if;
  -- asked again in the update, because of several requests at once only the first shall write
  if coalesce(v_key.last_used_at, '-infinity') <= v_now - interval '1 minute' then
    update tallystick.api_keys as k set last_used_at = v_now
    where k.key_id = v_key.key_id and coalesce(k.last_used_at, '-infinity') <= v_now - interval '1 minute';
  end if;
  v_admission := tallystick.count_requests(
    'key:' || v_key.key_id, coalesce(v_key.requests_per_minute, p_default_limit), p_requests
  );
  return query
  select v_key.key_id, v_key.user_id, v_key.scopes, v_admission.admitted, v_admission.request_limit,
    v_admission.remaining, v_admission.reset_s;
end
$$;
comment on function tallystick.admit_key(text, integer, integer) is
  'The key with this digest, with requests counted against its limit; no row where no such key is in force.';
revoke all on function tallystick.admit_key(text, integer, integer) from public, anon, authenticated;
grant execute on function tallystick.admit_key(text, integer, integer) to service_role;

create function tallystick.admit_user(p_user_id uuid, p_limit integer, p_requests integer default 1)
returns tallystick.admission
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  perform tallystick.check_service_caller();
  if p_user_id is null then
    raise exception using errcode = 'PT400', constraint = 'user_is_given',
      message = 'nobody is named', hint = 'Pass the id of the user who is signed in.';
  end if;
  return tallystick.count_requests('user:' || p_user_id, p_limit, p_requests);
end
$$;
comment on function tallystick.admit_user(uuid, integer, integer) is
  'Counts requests of a user who is signed in, without a key, against a limit.';
revoke all on function tallystick.admit_user(uuid, integer, integer) from public, anon, authenticated;
grant execute on function tallystick.admit_user(uuid, integer, integer) to service_role;
