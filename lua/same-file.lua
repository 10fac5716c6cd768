-- SPDX-License-Identifier: Apache-2.0
-- same-file: a file is the same on both sides. with: {path: /etc/hosts,
-- target: "its path there, if another", at: "the other side (default target)"}
local path = drover.with.path
if not path then
	error("with.path is missing: the file that must be the same", 0)
end
local there = drover.with.target or path
local other = drover.with.at or "target"
local a, why_a = drover.read(path, { at = "source" })
local b, why_b = drover.read(there, { at = other })

if not a then
	drover.fail("source: " .. why_a)
elseif not b then
	drover.fail(other .. ": " .. why_b)
elseif a ~= b then
	drover.fail(("%s differs: %d bytes at the source, %d at %s"):format(path, #a, #b, other))
end
drover.ok(("%s is the same, %d bytes"):format(path, #a))
