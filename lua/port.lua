-- SPDX-License-Identifier: Apache-2.0
-- port: a TCP port is open. with: {port: 443, address: 10.1.0.5 (default 127.0.0.1)}
local port = math.tointeger(tonumber(drover.with.port))
if not port then
	error("with.port is missing: the TCP port that must be open", 0)
end
local host = drover.with.address or "127.0.0.1"
local answer, why = drover.connect(host, port)

if not answer then
	drover.fail(why)
elseif not answer.open then
	drover.fail(("port %d of %s is not open: %s"):format(port, host, answer.error))
end
drover.ok(("port %d of %s is open"):format(port, host))
