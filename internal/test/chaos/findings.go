//go:build unix

package chaos

import (
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// findings are the faults found in a run, by their meaning.
type findings struct {
	// broken are violations that no slow machine explains, such as a broken safety rule or an unexplained error.
	broken []string
	// missed is progress that was not made in time, which a slow machine may explain.
	missed []string
}

// verdict is the result of a run.
type verdict int

const (
	passed       verdict = iota
	inconclusive         // progress was missed while the machine was slow
	behind               // progress was missed although the machine was not slow
	violated
)

// verdict returns the result of the findings. Nothing excuses a violation.
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

// fail adds an error of the machinery: of starting nodes and clients, of injecting faults, or of inspecting nodes. A
// time-out there is missed progress.
func (f *findings) fail(what string, err error) {
	if fmt.Sprintf("%T", err) == fmt.Sprintf("%T", errors.Join(errors.New(""))) { // a time-out does not excuse the other errors
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
