-- Moves messages out of one in-flight list; each goes to one place, or stays.
--
-- KEYS  1 leases (sorted set)   2 in-flight list   3 its queue
--       4 dead letters (stream)
-- ARGV  1 "own", or "expired": only if the list's lease has ended by the clock of
--         this server
--       then for each message: its exact bytes; "front", "back" or "dead"; and what
--         to push (the message, or the facts of a dead letter as JSON)
-- Reply {end of a living lease in ms or 0, {1 or 0 per message}, {name, count, ...}}
--       1: moved; 0: it was not in flight any more. The last part names the commands
--       that ran in here, for the ledger.
-- Cost  1, and 2 per message; with "expired" 4 more.
--
-- A push comes first, because only a push can be refused: a full server then stops
-- the script before anything has left its place. It is taken back when the message
-- turns out to be gone.

local counts = {}

local function call(name, ...)
    counts[name] = (counts[name] or 0) + 1
    return redis.call(name, ...)
end

local function report(lease, moved)
    local flat = {}
    for name, count in pairs(counts) do
        flat[#flat + 1] = name
        flat[#flat + 1] = count
    end
    return {lease, moved, flat}
end

local leases, inflight, queue, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expired = ARGV[1] == "expired"

if expired then
    local now = call("time")
    local ends = tonumber(call("zscore", leases, inflight) or "0")
    if ends > now[1] * 1000 + math.floor(now[2] / 1000) then
        return report(ends, {})
    end
end

local moved = {}
for i = 2, #ARGV, 3 do
    local raw, where, push = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local undo
    if where == "front" then
        call("rpush", queue, push)
        undo = {"rpop", queue}
    elseif where == "back" then
        call("lpush", queue, push)
        undo = {"lpop", queue}
    else
        local id = call("xadd", dead, "*", "raw", raw, "facts", push)
        undo = {"xdel", dead, id}
    end
    local gone = call("lrem", inflight, 1, raw)
    if gone == 0 then
        call(unpack(undo))
    end
    moved[#moved + 1] = gone
end

if expired and call("exists", inflight) == 0 then
    call("zrem", leases, inflight)
end
return report(0, moved)
