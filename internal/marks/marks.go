// Package marks creates the mark of a new node. Package cluster explains the
// meaning of marks.
package marks

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Key is the Redis key of a node's mark. It has no prefix, because it does not
// depend on the names of locks.
const Key = "redlock:mark"

// Format is the first word of a mark.
const Format = "v2"

// Made is the state of a node that has never been used.
const Made = "made"

// New returns the mark of a new node whose server has this run_id. now is by
// the server's clock, which must be this machine's. Without a mark, the process
// that first opens a set of new nodes must wait, because other processes may
// have used them.
func New(run string, now time.Time) string {
	return fmt.Sprintf("%s mem=%s state=%s run=%s at=%d tn=%[5]d data=%s dat=%[5]d dtn=%[5]d", Format, rand.Text(), Made, run, now.UnixMilli(), rand.Text())
}
