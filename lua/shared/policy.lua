-- The policy in force: the defaults, overlaid by the fleet's policy, overlaid by the instance's.
-- Redis stores only what was set (JSON): field '*' of the partition's policies is the fleet's.

local function overlay(policy, json)
  if not json then return policy end
  for name, value in pairs(cjson.decode(json).patch) do
    if type(value) == 'table' then
      for entry, inner in pairs(value) do policy[name][entry] = inner end
    else
      policy[name] = value
    end
  end
  return policy
end

local function default_policy()
  local policy = {
    failure_threshold = 15,
    window_ms = 300000,
    cooldown_ms = 600000,
    cooldown_factor = 1,
    cooldown_max_ms = 86400000,
    probes = 0,
    probe_ttl_ms = 120000,
    backoff = { base_ms = 1000, factor = 2, cap_ms = 20000, jitter = 0.2 },
    stable_after_ms = 60000,
    success_clears = false,
    weights = {},
    min_reporters = 1,
    fleet_guard = {
      enabled = true, share = 0.5, min_instances = 100, rate_per_s = 20, burst = 20,
      ramp_step_ms = 5000, ramp_factor = 2,
    },
  }
  return policy
end

-- Policies by the texts that they were made of, the fleet's and the instance's (false where there is none): each
-- is put together once, and changed by nobody.
local POLICIES_MAX = 256
local known_policies, policies_known = {}, 0

local function policy_in_force(policies, instance_id)
  local texts = redis.call('HMGET', policies, '*', instance_id)
  local fleet, own = texts[1], texts[2]
  local of_fleet = known_policies[fleet]
  local known = of_fleet and of_fleet[own]
  if known then return known end
  local policy = overlay(overlay(default_policy(), fleet), own)
  if policies_known == POLICIES_MAX then known_policies, policies_known = {}, 0 end
  known_policies[fleet] = known_policies[fleet] or {}
  known_policies[fleet][own] = policy
  policies_known = policies_known + 1
  return policy
end
