// bench.proto in Thrift's words.
struct Message {
  1: required binary payload
}

service Echo {
  Message echo(1: Message request)
}
