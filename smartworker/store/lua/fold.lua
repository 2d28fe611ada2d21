-- Changes fields of a hash together, if none of them has changed since it was read.
--
-- KEYS  1 rows of the processes (hash)
-- ARGV  for each field: its name; its value as it was read, "" for none; and the new
--       value, "" to delete it
-- Reply {1: changed, or 0: somebody was faster, number of HDEL, number of HSET}
-- Cost  2, and when it changes something 1 or 2 more.

local names = {}
for i = 1, #ARGV, 3 do
    names[#names + 1] = ARGV[i]
end
local found = redis.call("hmget", KEYS[1], unpack(names))
for n = 1, #names do
    if (found[n] or "") ~= ARGV[3 * n - 1] then
        return {0, 0, 0}
    end
end

-- HSET comes first, because only it can be refused: a full server then stops the
-- script before a sum has left its place.
local gone, set = {}, {}
for n = 1, #names do
    local value = ARGV[3 * n]
    if value == "" then
        gone[#gone + 1] = names[n]
    else
        set[#set + 1] = names[n]
        set[#set + 1] = value
    end
end
if #set > 0 then
    redis.call("hset", KEYS[1], unpack(set))
end
if #gone > 0 then
    redis.call("hdel", KEYS[1], unpack(gone))
end
return {1, math.min(#gone, 1), math.min(#set, 1)}
