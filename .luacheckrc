-- What Redis gives a script: Lua 5.1 with these, and without the parts of it that reach outside.
std = "lua51"
read_globals = { "redis", "cjson", "cmsgpack", "struct" }
not_globals = { "debug", "dofile", "io", "loadfile", "module", "package", "print", "require" }
max_line_length = 120
