-- Queues one run of a job, however often it is asked to.
--
-- KEYS  1 record of the run   2 queue   3 lease of the job, or ""
--       4 record of the slot, or ""
-- ARGV  1 what the record says   2 its lifetime in seconds   3 message
--       4 owner of the lease     5 lifetime of the lease in seconds
--       6 what the record says where another run has the lease; "" for no record
-- Reply {1, more}: pushed; {0, record}: it had been pushed before; {2, more}: another
--       run has the lease. `more`: 1 if the record was there for another or a
--       skipped run, else 0
-- Cost  3 when it pushes, 2 when it had been pushed; 1 more with a lease, 1 more with
--       the record of a slot, 4 when it is in the way; `more` in each case.

local old = redis.pcall("set", KEYS[1], ARGV[1], "NX", "GET", "EX", ARGV[2])
if type(old) == "table" and old.err then
    if not string.find(old.err, "syntax", 1, true) then
        return old
    end
    -- A server before 7.0 cannot do both at once.
    old = not redis.call("set", KEYS[1], ARGV[1], "NX", "EX", ARGV[2])
        and redis.call("get", KEYS[1])
end
local more = 0
if old then
    -- The slot of a run without parameters may be recorded by one that has some: it
    -- says that somebody has called, and is not in the way. What is long is a result.
    local known, was = false, nil
    if #old < 4096 then
        known, was = pcall(cjson.decode, old)
    end
    local new = cjson.decode(ARGV[1])
    known = known and type(was) == "table"
    local other = known and type(was.run) == "table"
        and was.task_id ~= new.task_id and was.run.digest ~= new.run.digest
    if not (other or known and was.status == "SKIPPED") then
        return {0, old}
    end
    redis.call("set", KEYS[1], ARGV[1], "EX", ARGV[2])
    more = 1
end

local function undo()
    if old then
        redis.call("set", KEYS[1], old, "EX", ARGV[2])
    else
        redis.call("del", KEYS[1])
    end
end

if KEYS[3] ~= "" then
    if not redis.call("set", KEYS[3], ARGV[4], "NX", "EX", ARGV[5]) then
        -- Where somebody has called for the slot it is not missed.
        if ARGV[6] ~= "" then
            old = old or ARGV[6]
        end
        undo()
        if ARGV[6] ~= "" and KEYS[4] ~= "" then
            redis.call("set", KEYS[4], ARGV[6], "NX", "EX", ARGV[2])
        end
        return {2, more}
    end
end
local answer = redis.pcall("lpush", KEYS[2], ARGV[3])
if type(answer) == "table" and answer.err then
    undo()
    if KEYS[3] ~= "" then
        redis.call("del", KEYS[3])
    end
    return redis.error_reply(answer.err)
end
if KEYS[4] ~= "" then
    redis.call("set", KEYS[4], ARGV[1], "NX", "EX", ARGV[2])
end
return {1, more}
