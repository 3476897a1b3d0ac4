-- wrk's load for POST /track: one new event per request, of sixteen users in turn.
local counter = 0

function setup(thread)
  thread:set("run", os.getenv("BENCH_RUN"))
  thread:set("key", os.getenv("BENCH_KEY"))
end

function request()
  counter = counter + 1
  local body = string.format(
    '{"event_key":"anthropic:msg_%s_%d","occurred_at":"2026-11-20T10:%02d:%02dZ","source":"api",' ..
    '"provider":"anthropic","model":"claude-sonnet-4-5","session_id":"session-%d","project":"bench",' ..
    '"input_tokens":%d,"cache_read_tokens":20000,"output_tokens":340,"is_final":true}',
    run, counter, math.floor(counter / 60) % 60, counter % 60, counter % 200, 1 + counter % 900
  )
  local path = string.format("/api/token-usage/track?user_id=00000000-0000-4000-8000-%012d", counter % 16)
  return wrk.format("POST", path, {["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json"}, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "RESULT %d %d %d %.3f %.3f\n", summary.requests, summary.duration,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
