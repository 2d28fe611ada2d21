-- Frees a job for its next run, if the lease is still that of this run.
--
-- KEYS  1 lease of the job
-- ARGV  1 owner
-- Reply 1: freed; 0: it is another's, or has ended
-- Cost  3 when it frees, 2 when it does not.

if redis.call("get", KEYS[1]) == ARGV[1] then
    return redis.call("del", KEYS[1])
end
return 0
