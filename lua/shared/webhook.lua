-- For how long a webhook's state is kept after its last use: a day more than the streams that it has places in.
local HOOKSTATE_TTL_MS = 8 * 86400000
