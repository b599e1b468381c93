// Package marks makes the mark of a node that was made just now. What marks
// mean is in package cluster.
package marks

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Key is where a node keeps its mark. It stands outside every prefix, for it is
// the same whatever the locks are called.
const Key = "redlock:mark"

// Format is the first word of a mark.
const Format = "v2"

// Made is the state of a node that nobody can have used.
const Made = "made"

// New is the mark of a node that was made just now, whose server has this
// run_id. now is by the server's clock, which is this machine's. Without a mark
// the process that first opens a set of new nodes waits for others that may have
// known them.
func New(run string, now time.Time) string {
	return fmt.Sprintf("%s mem=%s state=%s run=%s at=%d tn=%[5]d data=%s dat=%[5]d dtn=%[5]d", Format, rand.Text(), Made, run, now.UnixMilli(), rand.Text())
}
