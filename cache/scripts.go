package cache

import (
	_ "embed"

	"github.com/venta-hq/redlock/cluster"
)

//go:embed scripts/entry.lua
var entrySource string

//go:embed scripts/read.lua
var readSource string

//go:embed scripts/lease.lua
var leaseSource string

//go:embed scripts/renew.lua
var renewSource string

//go:embed scripts/store.lua
var storeSource string

//go:embed scripts/drop.lua
var dropSource string

//go:embed scripts/stale.lua
var staleSource string

//go:embed scripts/abandon.lua
var abandonSource string

//go:embed scripts/untag.lua
var untagSource string

// The steps on one node. Delivered twice, each has the effect of once, except that a value that is stored again is newer.
// They yield to those of locks on the same Cluster.
var (
	readScript    = cluster.NewScript("read entries", entrySource+readSource).Yielding().ReadOnly()
	leaseScript   = cluster.NewScript("take fill lease", entrySource+leaseSource).Yielding()
	renewScript   = cluster.NewScript("renew fill leases", renewSource).Yielding()
	storeScript   = cluster.NewScript("store entry", entrySource+storeSource).Yielding()
	dropScript    = cluster.NewScript("drop entries", entrySource+dropSource).Yielding()
	staleScript   = cluster.NewScript("mark entry stale", entrySource+staleSource).Yielding()
	abandonScript = cluster.NewScript("abandon fill lease", entrySource+abandonSource).Yielding()
	untagScript   = cluster.NewScript("delete tag", untagSource).Yielding()
)
