-- SPDX-License-Identifier: Apache-2.0
-- http: a web server answers. with: {url: "http://10.1.0.5/", status: 200,
-- pattern: "a Lua pattern in the body", host: "the name it is asked for"}
local url = drover.with.url
if not url then
	error("with.url is missing: what must answer", 0)
end
local want = math.tointeger(tonumber(drover.with.status or 200))
local answer, why = drover.http(url, { host = drover.with.host })

if not answer then
	drover.fail(why)
elseif answer.status ~= want then
	drover.fail(("%s answers %d %s, not %s"):format(url, answer.status, answer.reason,
		want or tostring(drover.with.status)))
end
local pattern = drover.with.pattern
if pattern and not answer.body:find(pattern) then
	drover.fail(("the answer of %s does not hold '%s'"):format(url, pattern))
end
drover.ok(("%s answers %d"):format(url, answer.status))
