package record

import "github.com/venta-hq/redlock/internal/nodeset"

// CheckWrites is the receiver that Tell makes of one.
func CheckWrites(to nodeset.Receiver, token int64) nodeset.Receiver { return writeChecker{to, token} }
