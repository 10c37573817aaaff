-- No lease lasts longer: an end further away is of a clock that was set back since.
local LEASE_MAX_MS = 120000
