# One line for an agent's status bar: what its own JSON says, and what a file has of the ledger's figures.
#
# It is run anew for every line, ten at once, and a Python takes longer to start than all of this; so it is awk, as POSIX
# has it, for a shell to run:  head -c N | LC_ALL=C awk -f statusline.awk FOLDER PARTS LAUNCHER RENEWAL [NOW]
#
# FOLDER is that of our state, PARTS what to show, and LAUNCHER with RENEWAL behind it the program that renews the file.
# That one is not waited for. Whatever is not known is n/a, and whatever is not as it should be is not known.
BEGIN {
  folder = ARGV[1]; launcher = ARGV[3]; now = ARGV[5]
  if (now == "") {
    srand()
    now = srand()  # the seed before this one: seconds since 1970
  }
  STRING = "\"([^\"\\\\]|\\\\.)*\""
  NUMBER = "-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?"
  UNKNOWN = "n/a"
  MAX_LENGTH = 65536
  MAX_DEPTH = 32
  FRESH_S = 10
  USABLE_S = 3600  # figures of an hour ago say nothing of now
  # beyond these nothing is believed: dollars, how far a plan or the context is used, the end of a five-hour window
  MAX_USD = 1000000
  MAX_USED = 1000
  MAX_FULL = 100
  MAX_LEFT_S = 21600  # with a clock that is an hour behind

  read_object("-", "told")
  read_object(folder "/statusline.json", "known")
  age = now - number_of("known" SUBSEP "at")
  if (age < 0 || age >= USABLE_S) forget("known")
  count = split(ARGV[2], parts, ",")
  for (place = 1; place <= count; place++) line = line (place > 1 ? " | " : "") part_of_line(parts[place])
  print line
  fflush()

  left = folder "/statusline-limits.json"
  limits = window("five_hour")
  limits = limits (limits != "" && window("seven_day") != "" ? "," : "") window("seven_day")
  if (index(content_of(left), "{\"limits\":{" limits "},") == 1) limits = ""
  renewal = age < 0 || age >= FRESH_S ? ARGV[4] : ""
  if (launcher != "" && limits renewal != "")
    system(launcher " '" limits "' " renewal " </dev/null >/dev/null 2>&1 &")
  exit
}

function part_of_line(part) {
  if (part == "session") return dollars("told" SUBSEP "cost" SUBSEP "total_cost_usd") " session"
  if (part == "today") return dollars(now < number_of("known" SUBSEP "day_ends_at") ? "known" SUBSEP "today_usd" : "") " today"
  if (part == "block") return block()
  if (part == "burn") return burn()
  if (part == "context") return "context " percent("told" SUBSEP "context_window" SUBSEP "used_percentage", MAX_FULL)
}

# The plan's own window where the agent tells of it, or the ledger knows it; else our model of it.
function block(  official, place, used, ends_at) {
  official[1] = "told" SUBSEP "rate_limits" SUBSEP "five_hour"
  official[2] = "known" SUBSEP "official"
  for (place = 1; place <= 2; place++) {
    used = percent(official[place] SUBSEP "used_percentage", MAX_USED)
    ends_at = number_of(official[place] SUBSEP "resets_at")
    if (used != UNKNOWN && (ends_at == 0 || runs(ends_at))) return "5h " used " used" time_left(ends_at)
  }
  ends_at = number_of("known" SUBSEP "block" SUBSEP "ends_at")
  return dollars(runs(ends_at) ? "known" SUBSEP "block" SUBSEP "cost_usd" : "") " block" time_left(ends_at)
}

function burn(  rate) {
  rate = runs(number_of("known" SUBSEP "block" SUBSEP "ends_at")) ? "known" SUBSEP "block" SUBSEP "usd_per_hour" : ""
  rate = dollars(rate)
  return rate == UNKNOWN ? rate " per hour" : rate "/h"
}

# A window of the plan as it is left for the ledger, "" where it is none or has ended, as in a session that was left open.
function window(name,  path, ends_at) {
  path = "told" SUBSEP "rate_limits" SUBSEP name SUBSEP
  ends_at = number_of(path "resets_at")
  if (percent(path "used_percentage", MAX_USED) == UNKNOWN) return ""
  if (kind[path "resets_at"] == "text") return ""
  if (ends_at != 0 && (ends_at <= now || ends_at >= 1e10)) return ""
  return "\"" name "\":{\"used_percentage\":" value[path "used_percentage"] ",\"resets_at\":" (ends_at ? value[path "resets_at"] : 0) "}"
}

# An amount to the cent; ours come as text that is rounded already.
function dollars(path,  text) {
  text = kind[path] == "text" ? value[path] : kind[path] == "number" ? sprintf("%.2f", value[path]) : ""
  return text ~ /^[0-9]+[.][0-9][0-9]$/ && text + 0 < MAX_USD ? "$" text : UNKNOWN
}

function percent(path, most,  text) {
  text = kind[path] == "number" ? sprintf("%.0f", value[path]) : ""
  return text ~ /^[0-9]+$/ && text + 0 <= most ? text "%" : UNKNOWN
}

# Whether a window of five hours that ends then is one of now.
function runs(ends_at) {
  return now < ends_at && ends_at <= now + MAX_LEFT_S
}

function time_left(ends_at,  minutes) {
  if (!runs(ends_at)) return ""
  minutes = int((ends_at - now) / 60)
  return minutes >= 60 ? sprintf(", %dh %dm left", minutes / 60, minutes % 60) : ", " minutes "m left"
}

function number_of(path) {
  return kind[path] == "number" ? value[path] + 0 : 0
}

# -- JSON: value[] and kind[] have every member that is a number or a text, by the names that lead to it

function read_object(file, root) {
  rest = content_of(file)
  blanks()
  if (substr(rest, 1, 1) != "{" || !read_value(root, 0)) forget(root)
}

function content_of(file,  text, some) {
  while (length(text) <= MAX_LENGTH && (getline some < file) > 0) text = text some "\n"
  close(file)
  return length(text) <= MAX_LENGTH ? text : ""
}

function forget(root,  path) {
  for (path in kind) if (index(path, root SUBSEP) == 1) delete kind[path]
}

function read_value(path, depth) {
  blanks()
  if (depth > MAX_DEPTH) return 0
  if (take("[{]")) return read_members(path, depth)
  if (take("\\[")) return read_items(path, depth)
  if (take(STRING)) return keep(path, "text", substr(token, 2, length(token) - 2))
  if (take(NUMBER)) return keep(path, "number", token)
  return take("(true|false|null)") && keep(path, "other", "")
}

function read_members(path, depth,  name) {
  blanks()
  if (take("[}]")) return 1
  do {
    blanks()
    if (!take(STRING)) return 0
    name = substr(token, 2, length(token) - 2)
    blanks()
    if (!take(":") || !read_value(path SUBSEP name, depth + 1)) return 0
    blanks()
  } while (take(","))
  return take("[}]")
}

function read_items(path, depth) {
  blanks()
  if (take("\\]")) return 1
  do {
    if (!read_value(path SUBSEP "[]", depth + 1)) return 0
    blanks()
  } while (take(","))
  return take("\\]")
}

function keep(path, what, text) {
  kind[path] = what
  value[path] = text
  return 1
}

function take(pattern) {
  if (!match(rest, "^" pattern)) return 0
  token = substr(rest, 1, RLENGTH)
  rest = substr(rest, RLENGTH + 1)
  return 1
}

function blanks() {
  sub(/^[ \t\r\n]+/, "", rest)
}
