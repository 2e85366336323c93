-- Asks apps in turn; the argument says how many.
local requests = {}
local at = 0

function init(args)
  for i = 0, tonumber(args[1]) - 1 do
    requests[i] = wrk.format("GET", string.format("/app-%02d/", i))
  end
end

function request()
  at = (at + 1) % (#requests + 1)
  return requests[at]
end
