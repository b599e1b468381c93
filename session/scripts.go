package session

import (
	_ "embed"

	"github.com/venta-hq/redlock/internal/nodeset"
)

var (
	//go:embed scripts/lib.lua
	lib string
	//go:embed scripts/load.lua
	loadSource string
	//go:embed scripts/commit.lua
	commitSource string
	//go:embed scripts/put.lua
	putSource string
	//go:embed scripts/tombstone.lua
	tombstoneSource string
	//go:embed scripts/drop.lua
	dropSource string
	//go:embed scripts/list.lua
	listSource string
	//go:embed scripts/logout.lua
	logoutSource string

	loadScript      = nodeset.NewScript("load session", lib+loadSource).Yielding()
	commitScript    = nodeset.NewScript("commit session", lib+commitSource).Yielding()
	putScript       = nodeset.NewScript("put session", lib+putSource).Yielding()
	tombstoneScript = nodeset.NewScript("bury session", lib+tombstoneSource).Yielding()
	dropScript      = nodeset.NewScript("drop deleted fields", lib+dropSource).Yielding()
	listScript      = nodeset.NewScript("list sessions", lib+listSource).Yielding()
	logoutScript    = nodeset.NewScript("log out", lib+logoutSource).Yielding()
)
