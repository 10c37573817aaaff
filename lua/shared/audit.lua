-- The audit trail: capped streams of transitions.
local AUDIT_TTL_MS = 7 * 86400000
local EVENTS_MAX = 5000
local HISTORY_MAX = 100

-- An entry as XADD takes it; what is empty or absent is left out. The span that asked is for links alone.
local function audit_entry(fields, origin)
  local entry = {}
  for _, from in ipairs({ fields, origin or {} }) do
    for field, value in pairs(from) do
      if value ~= '' and field ~= 'span_id' then
        entry[#entry + 1] = field
        entry[#entry + 1] = value
      end
    end
  end
  return entry
end

local function append_event(stream, entry)
  redis.call('XADD', stream, 'MAXLEN', '~', EVENTS_MAX, '*', unpack(entry))
  redis.call('PEXPIRE', stream, AUDIT_TTL_MS)
end

local function append_history(stream, entry)
  redis.call('XADD', stream, 'MAXLEN', HISTORY_MAX, '*', unpack(entry))
  redis.call('PEXPIRE', stream, AUDIT_TTL_MS)
end

-- The transitions that this call has made, for the reply; none, as nearly always, is no table.
local transitions
local NO_TRANSITIONS = {}

local function note(transition)
  transitions = transitions or {}
  transitions[#transitions + 1] = transition
end

-- The reply: `fields`, and the transitions if there are any; 1 if there is nothing to say.
local function reply(fields)
  if transitions then
    fields = fields or {}
    fields.transitions = transitions
  end
  return fields and cmsgpack.pack(fields) or 1
end
