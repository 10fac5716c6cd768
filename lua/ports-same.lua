-- SPDX-License-Identifier: Apache-2.0
-- ports-same: every TCP port that the guest listened on when it was assessed (fact
-- guest.listening) is open. with: {address: 10.1.0.5 (default 127.0.0.1),
-- except: "22,111"}
local guest = drover.facts.guest
if not guest or not guest.listening then
	error("the fact guest.listening is not known: assess the guest first", 0)
end
local host = drover.with.address or "127.0.0.1"
local except, seen, asked, closed = {}, {}, 0, {}

for port in tostring(drover.with.except or ""):gmatch("%d+") do
	except[tonumber(port)] = true
end

-- An entry is a number, "tcp 0.0.0.0:80", or {port=, proto=, address=}.
local function port_of(entry)
	if type(entry) == "table" then
		local tcp = not entry.proto or entry.proto:find("^tcp")
		local here = tostring(entry.address or ""):find("^127%.")
		return tcp and not here and tonumber(entry.port) or nil
	elseif type(entry) == "string" then
		if entry:find("udp") or entry:find("127%.") then
			return nil
		end
		return tonumber(entry:match("(%d+)%D*$"))
	end
	return tonumber(entry)
end

for _, entry in ipairs(guest.listening) do
	local port = port_of(entry)
	if port and not except[port] and not seen[port] then
		seen[port] = true
		asked = asked + 1
		local answer, why = drover.connect(host, math.tointeger(port))
		if not answer then
			drover.fail(why)
		elseif not answer.open then
			closed[#closed + 1] = tostring(math.tointeger(port))
		end
	end
end
if #closed > 0 then
	drover.fail(("%s: listened before, closed now: %s"):format(host, table.concat(closed, ", ")))
end
drover.ok(("%s: all %d ports that listened before are open"):format(host, asked))
