//go:build unix

package chaos

import (
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// findings are what is wrong with a run, by what it means.
type findings struct {
	// broken are violations: of safety, or of what no machine explains, such as an error that nothing accounts for.
	broken []string
	// missed is progress that was not made in time, which a slow machine explains.
	missed []string
}

// verdict is what becomes of a run.
type verdict int

const (
	passed       verdict = iota
	inconclusive         // progress was missed while the machine was slow
	behind               // progress was missed, and the machine was fine
	violated
)

// verdict weighs the findings. Nothing excuses a violation.
func (f *findings) verdict(slow bool) verdict {
	switch {
	case len(f.broken) > 0:
		return violated
	case len(f.missed) == 0:
		return passed
	case slow:
		return inconclusive
	}
	return behind
}

// fail adds an error of the machinery: of starting nodes and clients, of faults, and of looking at nodes. What ran out of time
// there is progress that was missed.
func (f *findings) fail(what string, err error) {
	if fmt.Sprintf("%T", err) == fmt.Sprintf("%T", errors.Join(errors.New(""))) { // one that was late excuses no other
		for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
			f.fail(what, one)
		}
		return
	}
	switch {
	case err == nil:
	case machine.TimedOut(err):
		f.missed = append(f.missed, what+": "+err.Error())
	default:
		f.broken = append(f.broken, what+": "+err.Error())
	}
}
