package quorumlock

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// maxFence is the first number that is no fence: numbers in Lua are exact below.
const maxFence = 1 << 53

// errFence is matched by the error of a node whose fence counter is unusable.
var errFence = errors.New("fence counter unusable")

// fenceError is why a node's grant does not count, or why it cannot grant.
type fenceError struct {
	ahead time.Duration // of this machine's clock; 0: the node refuses to count on
	reply error         // of the node, if that refused
}

func (e *fenceError) Error() string {
	if e.reply != nil {
		return fmt.Sprintf("its fence counter of this key cannot be raised (%v); redlock nodes --repair-fences PREFIX resets it", e.reply)
	}
	return fmt.Sprintf("its fence counter of this key lies %v ahead of this machine's clock, so its grant does not count; "+
		"set the clock that is wrong, then run redlock nodes --repair-fences PREFIX", e.ahead.Round(time.Second))
}

func (e *fenceError) Is(target error) bool { return target == errFence }
func (e *fenceError) Unwrap() error        { return e.reply }

// fenceLimit is the largest fence that counts at now, by this machine's clock.
func fenceLimit(now time.Time, maxTTL time.Duration) int64 {
	return min(now.Add(nodeset.MaxFenceLead+maxTTL).UnixMicro(), maxFence-1)
}

// checkFence is the error of a grant under fence that does not count; nil if it
// does.
func (h *Hold) checkFence(n *nodeset.Node, fence int64) error {
	now := time.Now()
	if fence <= fenceLimit(now, h.r.c.Config().MaxTTL) {
		return nil
	}
	ahead := time.Duration(fence-now.UnixMicro()) * time.Microsecond
	n.FenceAhead(h.key, ahead)
	return &fenceError{ahead: ahead}
}

// fenceRefused turns a node's refusal to count on into a fenceError.
func fenceRefused(err error) error {
	if strings.Contains(err.Error(), "is not a fence counter") {
		return &fenceError{reply: err}
	}
	return err
}
