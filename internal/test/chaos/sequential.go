//go:build unix

package chaos

import (
	"encoding/json"
	"errors"
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

// search is one way to explain a history by operations that happen one after another.
type search struct {
	name       string // of the drawing
	model      porcupine.Model
	operations func(*history) []porcupine.Operation
}

var searches = []search{
	{"history", locks, (*history).operations},
	{"slots", semaphore, (*history).slotOperations},
}

// step is one operation on one key, or on one slot, in the form for porcupine.
type step struct {
	kind  stepKind
	key   string // or slot
	token int64
	reads bool // by a reader
	loose bool // exclusion is not promised

	unordered bool // nor are tokens in order, because a node lost its data unnoticed; the direct checks are more exact

	// Of a visit.
	accepted bool
	write    bool
	version  int64 // that was read, or that a write replaces
}

type stepKind uint8

const (
	acquire stepKind = iota
	end              // released, lost, or its process killed
	visit            // an access to the store
)

// keyState is the state of one key between two steps.
type keyState struct {
	writer  int64 // the token of the holder that does not read; 0: none
	readers int
	issued  seen   // the newest tokens that writers and readers acquired
	stored  record // what the store has
}

// locks is a lock, and the register that it protects, as a single machine without faults would implement them. A free key
// is granted with a token larger than all before, and ends once. Readers are granted a key that no writer holds, with a
// token that is not smaller than that of any writer before. The store accepts the tokens that seen admits. A read returns
// the last version that was written, and a write replaces the one that its holder has read.
//
// It needs no branches for acquisitions of unknown outcome: a client reports a key before it uses it, so an unreported
// acquisition has had no effect.
var locks = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return keyState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(keyState), input.(step)
		var ok bool
		switch in.kind {
		case acquire:
			ok = s.acquire(in)
		case end:
			ok = s.end(in)
		case visit:
			ok = s.visit(in)
		}
		return ok, s
	},
	DescribeOperation: func(input, _ any) string { return input.(step).String() },
	DescribeState: func(state any) string {
		s := state.(keyState)
		return fmt.Sprintf("writer %d, %d readers, newest tokens %v, store has version %d and has seen %v",
			s.writer, s.readers, s.issued, s.stored.version, s.stored.seen)
	},
}

// acquire grants the key, and reports whether that is legal.
func (s *keyState) acquire(in step) bool {
	if in.reads {
		ok := (s.writer == 0 || in.loose) && (in.token >= s.issued.writer || in.unordered || in.loose)
		s.readers++
		s.issued.reader = max(s.issued.reader, in.token)
		return ok
	}
	free := s.writer == 0 && s.readers == 0
	ok := (free || in.loose) && (in.token > max(s.issued.writer, s.issued.reader) || in.unordered)
	s.writer, s.issued = in.token, seen{writer: in.token}
	return ok
}

// end takes the key from a holder, and reports whether that is legal.
func (s *keyState) end(in step) bool {
	if in.reads {
		s.readers--
		return s.readers >= 0
	}
	ok := s.writer == in.token || in.loose
	s.writer = 0
	return ok
}

// visit accesses the store, and reports whether it may have decided like that.
func (s *keyState) visit(in step) bool {
	if in.accepted != s.stored.admits(in.token, in.reads) {
		return false
	}
	if !in.accepted {
		return true
	}
	ok := in.version == s.stored.version
	s.stored.take(in.token, in.reads, in.write)
	return ok
}

func (in step) part() string { return in.key }

func (in step) String() string {
	who := ""
	if in.reads {
		who = " to read"
	}
	switch {
	case in.kind == acquire:
		return fmt.Sprintf("acquire %s%s -> %d", in.key, who, in.token)
	case in.kind == end:
		return fmt.Sprintf("%d over", in.token)
	case !in.accepted:
		return fmt.Sprintf("store(%d) -> refused", in.token)
	case in.write:
		return fmt.Sprintf("store(%d) replaces version %d", in.token, in.version)
	}
	return fmt.Sprintf("store(%d) -> version %d", in.token, in.version)
}

// byKey divides operations into those that affect each other.
func byKey(all []porcupine.Operation) [][]porcupine.Operation {
	at := map[string]int{}
	var parts [][]porcupine.Operation
	for _, op := range all {
		key := op.Input.(interface{ part() string }).part()
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

// operations returns the history in the form for porcupine.
func (h *history) operations() []porcupine.Operation {
	var ops []porcupine.Operation
	for _, a := range h.Attempts {
		in := step{key: a.place(), token: a.Token, reads: a.Reads, loose: h.letGo(a), unordered: h.emptied(h.Start, a.Acquired)}
		began, over := in, in
		began.kind, over.kind = acquire, end
		ops = append(ops, h.bounds(a, began, over)...)
	}
	for _, a := range h.Accesses {
		in := step{kind: visit, key: a.Key, token: a.Token, reads: a.Reads, accepted: a.Accepted, write: a.Write, version: a.Version}
		if a.Write {
			in.version = a.Base
		}
		ops = append(ops, porcupine.Operation{ClientId: lane(a.Client, workers), Input: in, Call: a.At, Return: a.At})
	}
	return ops
}

// bounds returns the two operations of an attempt: how it began to hold its key, and how that was over. Failed attempts
// have no visible effect.
func (h *history) bounds(a attempt, began, over any) []porcupine.Operation {
	if a.Acquired == 0 {
		return nil
	}
	last := a.Return
	switch {
	case a.Return == 0:
		last = math.MaxInt64 // killed: the key expires at some time
	case a.Lost:
		last = a.Until
	}
	return []porcupine.Operation{
		{ClientId: lane(a.Client, a.Worker), Input: began, Call: a.Call, Return: a.Acquired},
		{ClientId: lane(a.Client, a.Worker), Input: over, Call: h.overFrom(a), Return: last},
	}
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
func sequential(h *history, timeout time.Duration) (broken, undecided string) {
	for _, s := range searches {
		switch porcupine.CheckOperationsTimeout(s.model, s.operations(h), timeout) {
		case porcupine.Unknown:
			undecided = fmt.Sprintf("porcupine did not decide about %s within %v", s.name, timeout)
		case porcupine.Illegal:
			broken = fmt.Sprintf("porcupine: no order of the operations explains what was seen of %s", s.name)
		}
	}
	return broken, undecided
}

// keep writes the history, and a drawing of it by each search, into a directory.
func (h *history) keep(dir string) error {
	text, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "history.json"), text, 0o600); err != nil {
		return err
	}
	var bars []porcupine.Annotation
	for _, f := range h.Faults {
		bars = append(bars, porcupine.Annotation{Tag: "faults", Start: f.From, End: f.To, Description: f.Name, BackgroundColor: "#f4c7c3"})
	}
	for _, s := range h.Stalls {
		bars = append(bars, porcupine.Annotation{
			Tag: fmt.Sprintf("client %d", s.Client), Start: s.From, End: s.To, Description: "did not run", BackgroundColor: "#dddddd",
		})
	}
	var errs []error
	for _, s := range searches {
		_, info := porcupine.CheckOperationsVerbose(s.model, s.operations(h), drawingTimeout)
		info.AddAnnotations(bars)
		errs = append(errs, porcupine.VisualizePath(s.model, info, filepath.Join(dir, s.name+".html")))
	}
	return errors.Join(errs...)
}
