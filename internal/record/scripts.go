package record

import (
	_ "embed"

	"github.com/venta-hq/redlock/internal/nodeset"
)

//go:embed scripts/write.lua
var writeSource string

//go:embed scripts/read.lua
var readSource string

//go:embed scripts/size.lua
var sizeSource string

//go:embed scripts/promise.lua
var promiseSource string

var (
	writeScript   = nodeset.NewScript("write record", writeSource)
	readScript    = nodeset.NewScript("read record", readSource)
	sizeScript    = nodeset.NewScript("read size of record", sizeSource)
	promiseScript = nodeset.NewScript("promise and read record", promiseSource)
)
