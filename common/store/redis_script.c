/*
 * The two scripts.  A group is a hash, a record a field of it: name -> "version live|gone
 * expiry body", the first three of fixed width, so that versions are compared as text: Lua's
 * numbers have 53 bits.  Redis 7.0 or later (PEXPIREAT GT).
 *
 * A write is many units in one call (measured: half of what a call each costs Redis), each all
 * or nothing: what may fail is tried before the first change.
 */
#include "common/store/redis_parts.h"

/* Numbers that stand in the text. */
_Static_assert(REDIS_VERSION_N == 32 && REDIS_MS_N == 15 && REDIS_HEAD_N == 54 &&
		       REDIS_SLACK_MS == 60000,
	       "the scripts have the layout of redis_row.c");

/*
 * KEYS: the hash of each row.  ARGV: sizes of the units ("1,1,3"); the latest time of a version
 * that is believed (what is beyond, or no row at all, is written over); how long the end of a
 * record is remembered; then for each row field, value, when the key may go ("0": never), guard
 * ("": none, "0": not there, or a version).  The answer for each unit: 0; an error; or, when a
 * guard did not hold, what is there for each of its rows ("": nothing, or more than 64 KB).
 */
const char redis_script_write[] =
	"local call, try, sub = redis.call, redis.pcall, string.sub\n"
	/* Until when a field matters, 0: for ever; nil: damaged. */
	"local function expiry(v)\n"
	"  local e = tonumber(sub(v, 39, 53))\n"
	"  if not e or #v < 54 then return nil end\n"
	"  if e == 0 then return 0 end\n"
	"  if sub(v, 34, 37) == 'live' then return e + tonumber(ARGV[3]) end\n"
	"  return e + 60000\n"
	"end\n"
	/* Fields that are long over, or damaged, and of deletions all but the newest. */
	"local function purge(k)\n"
	"  local now, all, dead, graves = call('TIME')[1] * 1000, call('HGETALL', k), {}, {}\n"
	"  for i = 1, #all, 2 do\n"
	"    local f, v = all[i], all[i + 1]\n"
	"    local e = expiry(v)\n"
	"    if not e or (e > 0 and e <= now) then dead[#dead + 1] = f\n"
	"    elseif sub(v, 34, 37) == 'gone' then graves[#graves + 1] = {sub(v, 1, 32), f}\n"
	"    end\n"
	"  end\n"
	"  table.sort(graves, function(a, b) return a[1] > b[1] end)\n"
	"  for i = 65, #graves do dead[#dead + 1] = graves[i][2] end\n"
	"  for i = 1, #dead do call('HDEL', k, dead[i]) end\n"
	"end\n"
	/* The key had no end so far: it has one when no field is for ever. */
	"local function settle(k)\n"
	"  local all, last = call('HVALS', k), 0\n"
	"  for i = 1, #all do\n"
	"    local e = expiry(all[i])\n"
	"    if e == 0 then return end\n"
	"    if e and e > last then last = e end\n"
	"  end\n"
	"  if last > 0 then call('PEXPIREAT', k, string.format('%.0f', last)) end\n"
	"end\n"
	"local function expire(k, e, new)\n"
	"  if e == '0' then call('PERSIST', k) return end\n"
	"  if new == 1 then\n"
	"    local n = call('HLEN', k)\n"
	"    if n == 1 then call('PEXPIREAT', k, e) return end\n"
	"    if n % 16 == 0 then purge(k) end\n"
	"  end\n"
	"  if call('PEXPIREAT', k, e, 'GT') == 0 and call('PTTL', k) == -1 then settle(k) end\n"
	"end\n"
	"local function holds(guard, old, v)\n"
	"  if guard == '' or not old then return true end\n"
	"  if not string.find(old, '^%d+%.%d+%.%d+ [lg]') then return true end\n"
	"  local there, new = sub(old, 1, 32), sub(v, 1, 32)\n"
	"  if there == new then return true end\n"
	"  return there < new and\n"
	"    (there == guard or (guard == '0' and sub(old, 34, 37) == 'gone'))\n"
	"end\n"
	"local answer, at = {}, 0\n"
	"for size in string.gmatch(ARGV[1], '%d+') do\n"
	"  local first, last, old, verdict = at + 1, at + size, {}, 0\n"
	"  at = last\n"
	"  for i = first, last do\n"
	"    local v = try('HGET', KEYS[i], ARGV[4 * i])\n"
	"    if type(v) == 'table' then verdict = v break end\n"
	"    if v and (#v < 54 or sub(v, 1, 15) > ARGV[2]) then old[i] = false\n"
	"    else\n"
	"      old[i] = v\n"
	"      if not holds(ARGV[4 * i + 3], v, ARGV[4 * i + 1]) then verdict = 1 end\n"
	"    end\n"
	"  end\n"
	"  if verdict == 1 then\n"
	"    verdict = {}\n"
	"    for i = first, last do\n"
	"      local v = old[i]\n"
	"      verdict[#verdict + 1] = v and #v <= 65536 and v or ''\n"
	"    end\n"
	"  elseif verdict == 0 then\n"
	"    for i = first, last do\n"
	"      local k, v = KEYS[i], ARGV[4 * i + 1]\n"
	"      if not old[i] or sub(v, 1, 32) > sub(old[i], 1, 32) then\n"
	"        local new = try('HSET', k, ARGV[4 * i], v)\n"
	"        if type(new) == 'table' then verdict = new break end\n"
	"        expire(k, ARGV[4 * i + 2], new)\n"
	"      end\n"
	"    end\n"
	"  end\n"
	"  answer[#answer + 1] = verdict\n"
	"end\n"
	"return answer\n";

/*
 * KEYS: hashes.  ARGV: bytes that an answer should have; fields, then bytes, that a group may
 * have; bytes that a row may have.  The answer: how many keys were read, how many rows (or
 * groups) left out, then for each of these keys its fields and values.
 */
const char redis_script_read[] =
	"local enough, fields = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
	"local most, one = tonumber(ARGV[3]), tonumber(ARGV[4])\n"
	"local answer, skipped, bytes = {0, 0}, 0, 0\n"
	"for i = 1, #KEYS do\n"
	"  if bytes > enough then break end\n"
	"  local rows, sum, len = {}, 0, redis.pcall('HLEN', KEYS[i])\n"
	"  if type(len) == 'table' or len > fields then skipped = skipped + 1\n"
	"  else\n"
	"    local v = redis.call('HGETALL', KEYS[i])\n"
	"    for j = 1, #v, 2 do\n"
	"      local size = #v[j] + #v[j + 1]\n"
	"      if size <= one and sum + size <= most then\n"
	"        rows[#rows + 1], rows[#rows + 2] = v[j], v[j + 1]\n"
	"        sum = sum + size\n"
	"      else skipped = skipped + 1 end\n"
	"    end\n"
	"  end\n"
	"  bytes = bytes + sum + 16\n"
	"  answer[#answer + 1], answer[1] = rows, i\n"
	"end\n"
	"answer[2] = skipped\n"
	"return answer\n";
