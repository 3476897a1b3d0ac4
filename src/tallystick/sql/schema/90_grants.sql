-- Who may do what. anon: nothing. authenticated: read own rows, call the functions of `public` and through them their
-- bodies, which check the caller themselves. service_role: read everything, call everything. Nobody: write a table.
-- Every grant is spelled out, because hosted Supabase grants nothing by itself any more.

alter table public.token_usage_accounts enable row level security;
alter table public.token_usage_events enable row level security;
alter table public.token_usage_event_versions enable row level security;
alter table public.token_usage_sessions enable row level security;
alter table public.token_usage_daily enable row level security;
alter table public.token_usage_by_day enable row level security;
alter table public.token_usage_by_session_day enable row level security;
alter table public.token_usage_rejects enable row level security;
alter table public.token_usage_prices enable row level security;
alter table public.token_usage_limits enable row level security;
alter table tallystick.ledger enable row level security;
alter table tallystick.migrations enable row level security;
alter table tallystick.api_keys enable row level security;
alter table tallystick.request_windows enable row level security;

-- (select auth.uid()) is computed once per query; without the select it would be computed once per row
create policy accounts_own_rows on public.token_usage_accounts
for select to authenticated using (user_id = (select auth.uid()));
create policy events_own_rows on public.token_usage_events
for select to authenticated using (user_id = (select auth.uid()));
create policy event_versions_own_rows on public.token_usage_event_versions
for select to authenticated using (user_id = (select auth.uid()));
create policy sessions_own_rows on public.token_usage_sessions
for select to authenticated using (user_id = (select auth.uid()));
create policy daily_own_rows on public.token_usage_daily
for select to authenticated using (user_id = (select auth.uid()));
create policy by_day_own_rows on public.token_usage_by_day
for select to authenticated using (user_id = (select auth.uid()));
create policy by_session_day_own_rows on public.token_usage_by_session_day
for select to authenticated using (user_id = (select auth.uid()));
create policy rejects_own_rows on public.token_usage_rejects
for select to authenticated using (user_id = (select auth.uid()));
create policy limits_own_rows on public.token_usage_limits
for select to authenticated using (user_id = (select auth.uid()));
create policy prices_own_and_everybodys on public.token_usage_prices
for select to authenticated using (user_id is null or user_id = (select auth.uid()));

revoke all on schema tallystick from public;
grant usage on schema tallystick to authenticated, service_role;

revoke all on all tables in schema tallystick from public, anon, authenticated, service_role;
revoke all on
  public.token_usage_accounts, public.token_usage_events, public.token_usage_event_versions,
  public.token_usage_sessions, public.token_usage_daily, public.token_usage_by_day,
  public.token_usage_by_session_day, public.token_usage_rejects, public.token_usage_prices,
  public.token_usage_limits
from public, anon, authenticated, service_role;
grant select on
  public.token_usage_accounts, public.token_usage_events, public.token_usage_event_versions,
  public.token_usage_sessions, public.token_usage_daily, public.token_usage_by_day,
  public.token_usage_by_session_day, public.token_usage_rejects, public.token_usage_prices,
  public.token_usage_limits
to authenticated, service_role;
-- a project on Supabase may be older than the day on which it stopped to grant this by itself
revoke all on sequence public.token_usage_prices_price_id_seq from public, anon, authenticated, service_role;

-- What is not granted beside its function is for other functions only.
revoke execute on all functions in schema tallystick from public, anon;
