-- The keys of an instance and of its partition. A call is given two: the instance's record, and PARTITION, with
-- which the names of all others begin. A key that is given costs more than most commands on it, and a call touches
-- few. PARTITION itself is never a key: while a cluster moves a slot, it runs no call that is given a key that is
-- there and one that is not, and so none until all keys of the slot are on one node.
local INSTANCE, PARTITION, FAILURES
local POLICIES, TOTALS, INDEX, DUE, EVENTS, VIEW, RECORDS, MINUTES, BUILDS

-- Names of the partitions' keys: each is put together once.
local named = {}

local function partition_names(partition)
  local names = named[partition]
  if not names then
    names = {
      partition .. ':policies', partition .. ':totals', partition .. ':index', partition .. ':due',
      partition .. ':events', partition .. ':view', partition .. ':records', partition .. ':minutes',
      partition .. ':builds',
    }
    named[partition] = names
  end
  return unpack(names)
end

-- The instance's own key of a kind: named where it is used, which most are not.
local function own(kind)
  return PARTITION .. ':' .. kind .. ':' .. request.instance_id
end

local function name_keys(KEYS)
  INSTANCE, PARTITION = KEYS[1], KEYS[2]
  FAILURES = own('failures')
  POLICIES, TOTALS, INDEX, DUE, EVENTS, VIEW, RECORDS, MINUTES, BUILDS = partition_names(PARTITION)
end
