-- SPDX-License-Identifier: Apache-2.0
-- service: a systemd unit is active. with: {name: nginx}
local name = drover.with.name
if not name then
	error("with.name is missing: the unit that must be active", 0)
end
local answer, why = drover.run{"systemctl", "is-active", "--", name}

if not answer then
	drover.fail(why)
end
local state = answer.out:match("^%s*(%S+)") or "unknown"
if answer.status ~= 0 then
	drover.fail(("service %s is %s"):format(name, state))
end
drover.ok(("service %s is %s"):format(name, state))
