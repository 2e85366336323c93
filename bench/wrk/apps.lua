-- Asks twenty apps in turn.
local requests = {}
local at = 0

function init(args)
  for i = 0, 19 do
    requests[i] = wrk.format("GET", string.format("/app-%02d/", i))
  end
end

function request()
  at = (at + 1) % 20
  return requests[at]
end
