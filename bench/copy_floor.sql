-- The floor under ingest: a table like token_usage_events, with the same constraints and indexes, to COPY into.
create schema if not exists bench;

drop table if exists bench.events_copy;
-- `including all` leaves out the storage parameters, so they are said again; the benchmark checks that they are equal.
create table bench.events_copy (like public.token_usage_events including all) with (fillfactor = 90);

create or replace function bench.same_storage()
returns boolean
language sql
set search_path = ''
as $$
  select count(distinct coalesce(c.reloptions, '{}')) = 1
  from pg_catalog.pg_class as c
  where c.oid in ('public.token_usage_events'::regclass, 'bench.events_copy'::regclass)
$$;

-- Both sides begin with empty tables and a finished checkpoint, so that neither pays for what the other has written.
create or replace procedure bench.empty_ledger()
language sql
as $$
  truncate bench.events_copy, public.token_usage_accounts, public.token_usage_events,
    public.token_usage_event_versions, public.token_usage_sessions, public.token_usage_daily,
    public.token_usage_by_day, public.token_usage_by_session_day, public.token_usage_rejects
$$;
