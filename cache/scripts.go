package cache

import (
	_ "embed"

	"github.com/venta-hq/redlock/internal/nodeset"
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

// The scripts. Each has the same effect if it is delivered twice, except that a
// value that is stored again is newer. They yield to the scripts of locks on
// the same Cluster.
var (
	readScript    = nodeset.NewScript("read entries", entrySource+readSource).Yielding().ReadOnly()
	leaseScript   = nodeset.NewScript("take fill lease", entrySource+leaseSource).Yielding()
	renewScript   = nodeset.NewScript("renew fill leases", renewSource).Yielding()
	storeScript   = nodeset.NewScript("store entry", entrySource+storeSource).Yielding()
	dropScript    = nodeset.NewScript("drop entries", entrySource+dropSource).Yielding()
	staleScript   = nodeset.NewScript("mark entry stale", entrySource+staleSource).Yielding()
	abandonScript = nodeset.NewScript("abandon fill lease", entrySource+abandonSource).Yielding()
	untagScript   = nodeset.NewScript("delete tag", untagSource).Yielding()
)
