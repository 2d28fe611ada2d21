-- Pushes a message once for a key, however often it is asked to.
--
-- KEYS  1 record of the key   2 queue
-- ARGV  1 value of the record   2 lifetime of the record in seconds   3 message
-- Reply 1: pushed; 0: it had been pushed before
-- Cost  3 when it pushes, 2 when it does not.

if not redis.call("set", KEYS[1], ARGV[1], "NX", "EX", ARGV[2]) then
    return 0
end
local answer = redis.pcall("lpush", KEYS[2], ARGV[3])
if type(answer) == "table" and answer.err then
    redis.call("del", KEYS[1])
    return redis.error_reply(answer.err)
end
return 1
