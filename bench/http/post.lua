-- Sends the bodies in a file in turn: each is preceded by its length, four bytes, big-endian.
local bodies, at = {}, 0

function init(args)
  local file = io.open(args[1], "rb")
  local bytes, from = file:read("*a"), 1
  file:close()
  while from < #bytes do
    local a, b, c, d = bytes:byte(from, from + 3)
    local length = ((a * 256 + b) * 256 + c) * 256 + d
    local body = bytes:sub(from + 4, from + 3 + length)
    bodies[#bodies + 1] = wrk.format("POST", nil, { ["content-type"] = "application/msgpack" }, body)
    from = from + 4 + length
  end
end

function request()
  at = at % #bodies + 1
  return bodies[at]
end
