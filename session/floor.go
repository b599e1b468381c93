package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/venta-hq/redlock/cluster"
)

// A deleted field leaves a tombstone, so that nodes that still have its value
// do not bring it back. A tombstone is dropped once nothing can: when every
// node, not just a quorum, has answered one read with it. From then on no node
// has an older value. Commands in flight, or results that a process has read
// and not written yet, may still contain one: a read that was stalled before it
// restored its result, a Session that is renewed an hour after it was loaded,
// the data of a node that recovers with a snapshot. A floor keeps these values
// out.
//
// A floor is a version that is made when such a read has ended. It is above all
// versions that the read saw, and is set when the tombstones are dropped. So if
// a process has seen a floor before it asked the nodes, or in all of their
// answers, the tombstones were on all nodes before they answered, and the
// answers contain no deleted value. On a node with a floor,
//
//   - a commit needs a version above the floor (else it is "newer"): an old one
//     does not arrive late;
//   - what is read and put names the floors that were seen in this sense, and the
//     node refuses it ("stale") if its own is not among them; the process reads
//     again;
//   - tombstones are dropped only if the floor is still the one that the read saw,
//     so each floor was made in the knowledge of all floors that this node had
//     before it;
//   - a record that was not written whole in the present memory has no floor, and
//     its fields below the floor of the others do not count, neither in a read nor
//     when it is written whole.
//
// So no node that has dropped a tombstone accepts an older value again. Such a
// value could only come from an answer that a node sent before it answered the
// read that led to the floor. But a process that names this floor has seen it,
// or a later one that names it, before it asked or in the answer itself. So the
// answer was sent after that read.
//
// A read whose answers have different floors asks again with the knowledge of
// all of them, and puts its result under a new floor.
//
// A renewal is not refused for a floor that it does not name: by then it would
// have ended the session on the nodes without that floor, and the next read
// would find it ended. Instead, such a node accepts only fields above its
// floor, which are not deleted, and returns its floor. The renewal then
// continues like a read: it puts only its own changes, naming all returned
// floors, reads the new session from the nodes, and writes the result to a
// quorum.
//
// While a node does not answer, no tombstone is dropped, so an unreachable node
// may recover at any time. One case is not covered: a process that is stalled
// for an hour longer than Config.Idle and then continues with a put is not
// refused by a node whose record has expired in the meantime.

// floorField is the name under which a record keeps its floor. checkName
// refuses it as the name of a field.
const floorField = "\x00"

// maxFloors is how many earlier floors a record names besides its own.
const maxFloors = 4

// manyTombstones is the number of tombstones from which they are dropped. They
// are also dropped when they take a quarter of Config.MaxSize.
const manyTombstones = 16

// errStale means that the session must be read again, because fields have been
// dropped since.
var errStale = errors.New("redlock: deleted fields have been dropped since it was read")

// unsettled returns the error of an operation for which enough nodes answered,
// but did not agree in maxTries tries.
func (s *Store) unsettled(op, hashed string, answered int) error {
	return &cluster.QuorumError{Op: op + " session", Key: s.label(hashed), Need: s.c.Quorum(), Got: answered, Err: errUnsettled}
}

var errUnsettled = fmt.Errorf("they have not agreed in %d tries on which deleted fields were dropped; try again", maxTries)

// droppedError means that a session cannot replace another yet, because nodes
// have dropped fields since the other was read.
type droppedError struct {
	floors   []version
	answered int // number of nodes
}

func (e *droppedError) Error() string { return errStale.Error() }

// floor returns the version up to which fields may have been dropped from r, or
// "".
func (r *record) floor() version {
	if r == nil || r.fields[floorField] == "" {
		return ""
	}
	return r.fields[floorField][:versionWidth]
}

// floors returns the floor of r and the earlier ones that it names.
func (r *record) floors() []version {
	f := r.fields[floorField]
	if f == "" {
		return nil
	}
	all := []version{f[:versionWidth]}
	for f = f[versionWidth+1:]; len(f) >= versionWidth; f = f[versionWidth:] {
		all = append(all, f[:versionWidth])
	}
	return all
}

// floorOver returns the field of a floor that names the floors in before,
// except "".
func floorOver(floor version, before []version) string {
	before = slices.DeleteFunc(slices.Clone(before), func(f version) bool { return f == "" || f == floor })
	slices.SortFunc(before, func(a, b version) int { return strings.Compare(b, a) })
	before = slices.Compact(before)
	return floor + string(kindDeleted) + strings.Join(before[:min(len(before), maxFloors)], "")
}

// raised returns r with this floor, for nodes with one of the floors in before.
func (r *record) raised(floor version, before []version) *record {
	up := *r
	up.fields = maps.Clone(r.fields)
	up.fields[floorField] = floorOver(floor, before)
	return &up
}

// above returns r with only the fields above a floor.
func (r *record) above(floor version) *record {
	if floor == "" {
		return r
	}
	up := *r
	up.fields = map[string]string{}
	for name, f := range r.fields {
		if name != floorField && f[:versionWidth] > floor {
			up.fields[name] = f
		}
	}
	return &up
}

// known returns the fields of r and the floor that its own read has led to. It
// may name that floor, because r has the tombstones that were on every node.
func (r *record) known() map[string]string {
	if r.dropped == nil || r.dropped.Load() == nil {
		return r.fields
	}
	up := maps.Clone(r.fields)
	up[floorField] = *r.dropped.Load()
	return up
}

// knowsAll reports whether all of floors are known.
func knowsAll(known, floors []version) bool {
	return !slices.ContainsFunc(floors, func(f version) bool { return f != "" && !slices.Contains(known, f) })
}

// tombstones returns the deleted fields of r and the size of their names.
func (r *record) tombstones() (names []string, size int) {
	for name, f := range r.fields {
		if f[versionWidth] == kindDeleted && name != floorField {
			names = append(names, name)
			size += len(name)
		}
	}
	return names, size
}

// drop makes the nodes drop tombstones of fields if the read saw them on all
// nodes. It does not wait.
func (r *reading) drop() {
	r.p.mu.Lock()
	live, answers := r.settled.live, slices.Concat(r.answers, r.lates)
	if live == nil || r.dropped || len(answers) < len(r.s.c.Nodes()) || r.settled.ended() ||
		slices.ContainsFunc(answers, func(a answer) bool { return a.lagging(live) }) {
		r.p.mu.Unlock()
		return
	}
	r.dropped = true
	r.p.mu.Unlock()

	names, size := live.tombstones()
	if len(names) < manyTombstones && size <= r.s.cfg.MaxSize/4 {
		return
	}
	floor := floorOver(r.s.clock.after(live.newest()), live.floors())
	args := []any{live.floor(), floor}
	for _, name := range names {
		args = append(args, name, live.fields[name])
		size += len(live.fields[name])
	}
	q := question{script: dropScript, key: r.s.cfg.Prefix + r.hashed, args: args, size: size, now: r.now, write: true}
	live.dropped.Store(&floor)
	common := r.s.common(q)
	for _, a := range answers {
		n := r.s.c.Nodes()[a.node]
		r.s.send(n, q, common, n.MemoryID(), a.memory, nil)
	}
}
