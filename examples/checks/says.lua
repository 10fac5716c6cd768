-- SPDX-License-Identifier: Apache-2.0
-- says: a page answers with 200 and holds a text, word for word.
-- with: {url: "http://10.1.0.5:8080/health", says: "ready"}
local want = drover.with
if not want.url or not want.says then
	error("with: must have url and says", 0)
end
local answer, why = drover.http(want.url)

if not answer then
	drover.fail(why)
elseif answer.status ~= 200 then
	drover.fail(want.url .. " answers " .. answer.status)
elseif not answer.body:find(want.says, 1, true) then
	drover.fail(want.url .. " does not say '" .. want.says .. "'")
end
drover.ok(want.url .. " says '" .. want.says .. "'")
