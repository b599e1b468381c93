package register

import "github.com/venta-hq/redlock/cluster"

// Told is the receiver that Tell makes of one.
func Told(to cluster.Receiver, token int64) cluster.Receiver { return told{to, token} }
