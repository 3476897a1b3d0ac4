-- What a call costs. The road from a model as its source wrote it to US dollars:
--
--   price_names     the names under which that model may be listed, best first
--   resolve_model   ... the one that everybody's list has, and the one among the user's own prices
--   price_periods   the rates under those names, each with the time in which it holds
--   find_price      ... the ones that hold at one moment
--   cost_usd        rates and counts -> US dollars
--
-- A name is known where it is listed, or would be but for a valid date at its end. Nothing is matched by prefix or by
-- part: a wrong price is worse than none, and whoever knows the right one can add it with add_token_prices().

-- Other words for the providers of the list. A word that is not here stands for itself.
create function tallystick.price_provider(p_provider text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case lower(btrim(p_provider))
    when 'amazon' then 'aws'
    when 'amazon-bedrock' then 'aws'
    when 'bedrock' then 'aws'
    when 'azure-openai' then 'azure'
    when 'copilot' then 'github-copilot'
    when 'fireworks-ai' then 'fireworks'
    when 'gemini' then 'google'
    when 'google-vertex' then 'google'
    when 'vertex' then 'google'
    when 'vertex-ai' then 'google'
    when 'mistralai' then 'mistral'
    when 'moonshot' then 'moonshotai'
    when 'together-ai' then 'together'
    when 'togetherai' then 'together'
    when 'xai' then 'x-ai'
    when 'z-ai' then 'zai'
    else lower(btrim(p_provider))
  end;
end
$$;
comment on function tallystick.price_provider(text) is 'The provider as the price list calls it.';
revoke all on function tallystick.price_provider(text) from public, anon, authenticated, service_role;

-- [1m] asks a model for its long context window: the same model, at the same rates.
create function tallystick.price_model(p_model text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when right(lower(btrim(p_model)), 4) = '[1m]' then left(lower(btrim(p_model)), -4)
    else lower(btrim(p_model))
  end;
end
$$;
comment on function tallystick.price_model(text) is 'The model as the price list spells it.';
revoke all on function tallystick.price_model(text) from public, anon, authenticated, service_role;

-- The date is read as a date: a 30th of February is part of a name that nobody listed.
create function tallystick.without_date(p_model text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[] := regexp_match(p_model, '^(.+)[-@](20\d\d)(-?)(0[1-9]|1[0-2])\3(0[1-9]|[12]\d|3[01])$');
begin
  if v_parts is null or extract(
    month from make_date(v_parts[2]::integer, v_parts[4]::integer, 1) + (v_parts[5]::integer - 1)
  ) <> v_parts[4]::integer then
    return null;
  end if;
  return v_parts[1];
end
$$;
comment on function tallystick.without_date(text) is
  'The name before the date that ends it; null where no valid date does.';
revoke all on function tallystick.without_date(text) from public, anon, authenticated, service_role;

-- A name may say more than the provider beside it. Ids of Bedrock and Vertex are priced by those, not by the maker of
-- the model; Bedrock's regional ids (us., eu., ...) cost more than its global. ones, so that prefix stays. Where no
-- provider is known at all, only the three largest makers are asked. The order of the names: as written, then without
-- what was put before or around it, then all of these without a date. A -fast that means a speed is dropped only after
-- the name with it was tried, because some models are listed with it.
create function tallystick.price_names(p_provider text, p_model text, out providers text[], out models text[])
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text := tallystick.price_provider(p_provider);
  v_model text := tallystick.price_model(p_model);
  v_name text;
begin
  providers := case
    when v_provider not in ('', 'anthropic') then array[v_provider]
    when v_model ~ '^([a-z-]+\.)?anthropic\.' then '{aws}'
    when v_model like '%claude%@%' then '{google}'
    when v_provider <> '' then array[v_provider]
    when v_model like 'openrouter/%' then '{openrouter}'
    when v_model like 'claude%' or v_model like 'anthropic/%' then '{anthropic}'
    when v_model like 'openai/%' then '{openai}'
    when v_model like 'google/%' or v_model like 'models/%' then '{google}'
    else '{anthropic,openai,google}'
  end;
  models := array[v_model];
  if strpos(v_model, '/') > 0 then
    models := models || regexp_replace(v_model, '^openrouter/', '')
      || regexp_replace(v_model, '^(openrouter/[^/]+|anthropic|openai|google|models)/', '');
  end if;
  foreach v_name in array models loop
    if v_name like 'claude%.%' then
      models := models || regexp_replace(v_name, '(\d)\.(\d)', '\1-\2', 'g');
    elsif v_name like '%-v%' and providers = '{aws}' then
      models := models || regexp_replace(v_name, '-v\d+(:\d+k?)*$', '');
    end if;
  end loop;
  foreach v_name in array models loop
    models := array_append(models, tallystick.without_date(v_name));
  end loop;
  if v_model like '%-fast' then
    models := models || (tallystick.price_names(p_provider, left(v_model, -5))).models;
  end if;
end
$$;
comment on function tallystick.price_names(text, text) is
  'The providers that may list a model, and the names under which they may, best first; nulls among them mean nothing.';
revoke all on function tallystick.price_names(text, text) from public, anon, authenticated, service_role;

-- The plan is the same whatever the names are, and a generic one spares planning it at each call.
create function tallystick.resolve_model(
  p_user_id uuid, p_provider text, p_model text,
  out own_provider text, out own_model text, out price_provider text, out price_model text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_names record;
  v_listed_by bigint;
begin
  -- most names are listed as they are written, and most users have no prices of their own
  select p.provider, p.model into price_provider, price_model
  from public.token_usage_prices as p
  where p.user_id is null and p.provider = p_provider and p.model = p_model limit 1;
  if not found then
    v_names := tallystick.price_names(p_provider, p_model);
    select min(v.provider), n.model, count(*) into price_provider, price_model, v_listed_by
    from unnest(v_names.models) with ordinality as n (model, preference)
    cross join unnest(v_names.providers) as v (provider)
    cross join lateral (
      select from public.token_usage_prices as p
      where p.user_id is null and p.provider = v.provider and p.model = n.model limit 1
    ) as listed
    group by n.preference, n.model order by n.preference limit 1;
    if v_listed_by > 1 then
      price_provider := null;
      price_model := null;
    end if;
  end if;
  if exists (select from public.token_usage_prices as p where p.user_id = p_user_id) then
    v_names := tallystick.price_names(p_provider, p_model);
    select v.provider, n.model into own_provider, own_model
    from unnest(v_names.models) with ordinality as n (model, preference)
    cross join unnest(tallystick.price_provider(p_provider) || v_names.providers)
      with ordinality as v (provider, preference)
    cross join lateral (
      select from public.token_usage_prices as p
      where p.user_id = p_user_id and p.provider = v.provider and p.model = n.model limit 1
    ) as listed
    order by n.preference, v.preference limit 1;
  end if;
end
$$;
comment on function tallystick.resolve_model(uuid, text, text) is
  'The provider and name under which the user''s own prices, and those under which everybody''s list, know a model.';
revoke all on function tallystick.resolve_model(uuid, text, text) from public, anon, authenticated, service_role;

create function tallystick.implies_fast(p_price public.token_usage_prices, p_model text)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return right(tallystick.price_model(p_model), 5) = '-fast' and right(p_price.model, 5) <> '-fast';
end
$$;
comment on function tallystick.implies_fast(public.token_usage_prices, text) is
  'Whether the name says that the call was a fast one: it ends in -fast, and the name that is listed does not.';
revoke all on function tallystick.implies_fast(public.token_usage_prices, text)
  from public, anon, authenticated, service_role;

-- The periods of one model never overlap, so that a join by time finds one price at most. A user's own prices win from
-- the first of them on; of two with the same date, the one added later.
create function tallystick.price_periods(p_user_id uuid, p_provider text, p_model text)
returns table (
  price public.token_usage_prices, valid_from timestamptz, valid_until timestamptz, implies_fast boolean
)
language plpgsql
stable
rows 3
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select k.price, k.valid_from, lead(k.valid_from, 1, 'infinity') over (order by k.valid_from),
    tallystick.implies_fast(k.price, p_model)
  from (
    select distinct on (l.valid_from) l.price, l.valid_from, l.is_own,
      min(l.valid_from) filter (where l.is_own) over () as own_from
    from tallystick.resolve_model(p_user_id, p_provider, p_model) as r
    cross join lateral (
      select p as price, p.valid_from, p.price_id, true as is_own from public.token_usage_prices as p
      where p.user_id = p_user_id and p.provider = r.own_provider and p.model = r.own_model
      union all
      select p, p.valid_from, p.price_id, false from public.token_usage_prices as p
      where p.user_id is null and p.provider = r.price_provider and p.model = r.price_model
    ) as l
    order by l.valid_from, l.is_own desc, l.price_id desc
  ) as k
  where k.is_own or k.own_from is null or k.valid_from < k.own_from;
end
$$;
comment on function tallystick.price_periods(uuid, text, text) is
  'The prices of a model, each with the time in which it holds: valid_from <= time < valid_until.';
revoke all on function tallystick.price_periods(uuid, text, text) from public, anon, authenticated, service_role;

create function tallystick.find_price(p_user_id uuid, p_provider text, p_model text, p_at timestamptz)
returns table (price public.token_usage_prices, implies_fast boolean)
language plpgsql
stable
rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select f.price, f.implies_fast
  from tallystick.price_periods(p_user_id, p_provider, p_model) as f
  where f.valid_from <= p_at and p_at < f.valid_until;
end
$$;
comment on function tallystick.find_price(uuid, text, text, timestamptz) is
  'The price of a model at a time, no row where it has none; and whether the model''s name means a fast call.';
revoke all on function tallystick.find_price(uuid, text, text, timestamptz)
  from public, anon, authenticated, service_role;

-- Null wherever a part of the price is unknown: no price, a tier or speed that has none, or one that nobody has heard
-- of. `* 0.000001` and no division, no rounding: both lose digits. The long-context rates hold for the whole request,
-- and only where the row is one request: the sum of a session passes any threshold. The fee for a web search is the
-- same in every tier.
create function tallystick.cost_usd(
  p_price public.token_usage_prices, p_grain text, p_service_tier text, p_speed text, p_inference_geo text,
  p_input bigint, p_c5m bigint, p_c1h bigint, p_read bigint, p_output bigint, p_web bigint
)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
      when p_grain = 'call'
        and p_input + p_c5m + p_c1h + p_read > p_price.long_context_threshold_tokens
      then p_input * p_price.long_input_usd_per_mtok
        + p_c5m * p_price.long_cache_creation_5m_usd_per_mtok
        + p_c1h * p_price.long_cache_creation_1h_usd_per_mtok
        + p_read * p_price.long_cache_read_usd_per_mtok
        + p_output * p_price.long_output_usd_per_mtok
      else p_input * p_price.input_usd_per_mtok
        + p_c5m * p_price.cache_creation_5m_usd_per_mtok
        + p_c1h * p_price.cache_creation_1h_usd_per_mtok
        + p_read * p_price.cache_read_usd_per_mtok
        + p_output * p_price.output_usd_per_mtok
    end
    * 0.000001
    * case
      when p_service_tier in ('', 'standard', 'default', 'auto') then 1
      when p_service_tier = 'batch' then p_price.batch_multiplier
      when p_service_tier = 'flex' then p_price.flex_multiplier
      when p_service_tier in ('priority', 'fast') then p_price.priority_multiplier
    end
    * case
      when p_speed in ('', 'standard') then 1
      when p_speed = 'fast' then p_price.fast_multiplier
    end
    * case when p_inference_geo = 'us' then p_price.us_multiplier else 1 end
    + p_web * p_price.web_search_usd;
end
$$;
comment on function tallystick.cost_usd(
  public.token_usage_prices, text, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint
) is 'US dollars at a price, exact; null where any part of it is unknown.';
revoke all on function tallystick.cost_usd(
  public.token_usage_prices, text, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint
) from public, anon, authenticated, service_role;
