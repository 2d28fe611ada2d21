-- Queues one run of a job, however often it is asked to.
--
-- KEYS  1 record of the run   2 queue   3 lease of the job, or ""
--       4 record of the slot, or ""
-- ARGV  1 what the record says   2 its lifetime in seconds   3 message
--       4 owner of the lease     5 lifetime of the lease in seconds
-- Reply {1}: pushed; {0, record}: it had been pushed before; {2}: another run has the
--       lease
-- Cost  3 when it pushes, 2 when it had been pushed; 1 more with a lease, 1 more with
--       the record of a slot, 4 when it is in the way.

local old = redis.pcall("set", KEYS[1], ARGV[1], "NX", "GET", "EX", ARGV[2])
if type(old) == "table" and old.err then
    if not string.find(old.err, "syntax", 1, true) then
        return old
    end
    -- A server before 7.0 cannot do both at once.
    old = not redis.call("set", KEYS[1], ARGV[1], "NX", "EX", ARGV[2])
        and redis.call("get", KEYS[1])
end
if old then
    return {0, old}
end
if KEYS[3] ~= "" then
    if not redis.call("set", KEYS[3], ARGV[4], "NX", "EX", ARGV[5]) then
        redis.call("del", KEYS[1])
        return {2}
    end
end
local answer = redis.pcall("lpush", KEYS[2], ARGV[3])
if type(answer) == "table" and answer.err then
    redis.call("del", KEYS[1])
    if KEYS[3] ~= "" then
        redis.call("del", KEYS[3])
    end
    return redis.error_reply(answer.err)
end
if KEYS[4] ~= "" then
    redis.call("set", KEYS[4], ARGV[1], "NX", "EX", ARGV[2])
end
return {1}
