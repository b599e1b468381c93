//go:build unix

package chaos

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// Bounds of the search for a sequential explanation. A good history takes milliseconds. A history that is known to be
// wrong could take forever, and is searched only for the drawing.
const (
	sequentialTimeout = 30 * time.Second
	drawingTimeout    = 3 * time.Second
)

// step is one operation on one key in the form for porcupine.
type step struct {
	kind     stepKind
	key      string
	token    int64
	accepted bool
	shared   bool // exclusion is not promised

	unordered bool // nor are tokens in order, because a node lost its data unnoticed; the direct checks are more exact
}

type stepKind uint8

const (
	acquire stepKind = iota
	end              // released, lost, or its process killed
	visit            // an access to the store
)

// keyState is the state of one key between two steps.
type keyState struct {
	holder int64 // the holder's token; 0: free
	last   int64 // the newest issued token
	seen   int64 // the newest token that the store accepted
}

// model is the lock as a single machine without faults would implement it. A free key is granted with a token larger
// than all before, and ends once. The store accepts the newest token that it has seen, or a newer one.
//
// It needs no branches for acquisitions of unknown outcome: a client reports a key before it uses it, so an unreported
// acquisition has had no effect.
var model = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return keyState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(keyState), input.(step)
		switch in.kind {
		case acquire:
			ok := (s.holder == 0 || in.shared) && (in.token > s.last || in.unordered)
			s.holder, s.last = in.token, in.token
			return ok, s
		case end:
			ok := s.holder == in.token || in.shared
			s.holder = 0
			return ok, s
		}
		ok := in.accepted == (in.token >= s.seen)
		s.seen = max(s.seen, in.token)
		return ok, s
	},
	DescribeOperation: func(input, _ any) string {
		in := input.(step)
		switch in.kind {
		case acquire:
			return fmt.Sprintf("acquire %s -> %d", in.key, in.token)
		case end:
			return fmt.Sprintf("%d over", in.token)
		}
		return fmt.Sprintf("store(%d) -> %t", in.token, in.accepted)
	},
	DescribeState: func(state any) string {
		s := state.(keyState)
		return fmt.Sprintf("holder %d, newest token %d, store has seen %d", s.holder, s.last, s.seen)
	},
}

func byKey(all []porcupine.Operation) [][]porcupine.Operation {
	at := map[string]int{}
	var parts [][]porcupine.Operation
	for _, op := range all {
		key := op.Input.(step).key
		i, ok := at[key]
		if !ok {
			i = len(parts)
			at[key] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// lane returns the line of porcupine's drawing for a worker, which does one thing at a time.
func lane(client, worker int) int { return client*(workers+1) + worker }

// operations returns the history in the form for porcupine. Failed attempts have no visible effect.
func (h *history) operations() []porcupine.Operation {
	var ops []porcupine.Operation
	for _, a := range h.Attempts {
		if a.Acquired == 0 {
			continue
		}
		over := a.Return
		switch {
		case a.Return == 0:
			over = math.MaxInt64 // killed: the key expires at some time
		case a.Lost:
			over = a.Until
		}
		ops = append(ops,
			porcupine.Operation{ClientId: lane(a.Client, a.Worker), Input: step{acquire, a.Key, a.Token, true, h.letGo(a), h.emptied(h.Start, a.Acquired)}, Call: a.Call, Return: a.Acquired},
			porcupine.Operation{ClientId: lane(a.Client, a.Worker), Input: step{end, a.Key, a.Token, true, h.letGo(a), false}, Call: h.overFrom(a), Return: over})
	}
	for _, a := range h.Accesses {
		ops = append(ops, porcupine.Operation{
			ClientId: lane(a.Client, workers), Input: step{visit, a.Key, a.Token, a.Accepted, false, false}, Call: a.At, Return: a.At,
		})
	}
	return ops
}

// overFrom returns the earliest time at which another client may have acquired the key of a: not before its holder
// released it, unless the holder did not run. A client that did not run during its attempt may have acquired and lost
// the key before it learns of either.
func (h *history) overFrom(a attempt) int64 {
	from := a.Until
	for _, s := range h.Stalls {
		held := s.To+grace >= a.Acquired || a.Lost && s.To >= a.Call
		if s.Client == a.Client && s.From <= a.Until && held {
			from = min(from, s.From)
		}
	}
	return from
}

// sequential returns why the history has no sequential explanation, or why that is undecided. Both are empty if it has
// one.
func sequential(h *history, timeout time.Duration) (broken, undecided string, info porcupine.LinearizationInfo) {
	result, info := porcupine.CheckOperationsVerbose(model, h.operations(), timeout)
	switch result {
	case porcupine.Ok:
		return "", "", info
	case porcupine.Unknown:
		return "", fmt.Sprintf("porcupine did not decide within %v", timeout), info
	}
	return "porcupine: no order of the operations explains what was seen", "", info
}

// keep writes the history, and a drawing of it, into a directory.
func (h *history) keep(dir string) error {
	text, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "history.json"), text, 0o600); err != nil {
		return err
	}
	_, _, info := sequential(h, drawingTimeout)
	var bars []porcupine.Annotation
	for _, f := range h.Faults {
		bars = append(bars, porcupine.Annotation{Tag: "faults", Start: f.From, End: f.To, Description: f.Name, BackgroundColor: "#f4c7c3"})
	}
	for _, s := range h.Stalls {
		bars = append(bars, porcupine.Annotation{
			Tag: fmt.Sprintf("client %d", s.Client), Start: s.From, End: s.To, Description: "did not run", BackgroundColor: "#dddddd",
		})
	}
	info.AddAnnotations(bars)
	return porcupine.VisualizePath(model, info, filepath.Join(dir, "history.html"))
}
