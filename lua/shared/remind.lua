-- Rings for the caller, who owns the session, if errands wait for it: the bell may have been missed, or rung
-- for another owner.
local function remind(instance_id)
  announce(TOTALS, VIEW, { bell = 'errand:' .. request.gateway, about = instance_id })
end
