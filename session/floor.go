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
// has an older value. One may still be carried by commands that are on their
// way, and by what processes have read and not written yet: a read that was
// stalled before it restored its result, a Session that is renewed an hour
// after it was loaded, the memory of a node that recovers with a snapshot. A
// floor keeps these out.
//
// A floor is a version that is made when such a read has ended, above all
// versions that it saw, and set together with dropping the tombstones. So a
// process that has seen a floor before asking the nodes, or in all of their
// answers, has read what they had when the tombstones were on all of them, and
// no value that was deleted. On a node with a floor,
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
// So no node that has dropped a tombstone takes an older value again. Such a
// value would have come from an answer that a node gave before it answered the
// read that led to the floor. But a process that names that floor has seen it,
// or one made later in its knowledge, before asking or in the answer itself:
// the answer came after that read.
//
// A read whose answers have different floors asks again, knowing them all, and
// puts its result under a floor of its own.
//
// A renewal is not refused for a floor that it does not name: it would have
// ended the session on the nodes without that floor, and the next read would
// find it ended. Instead such a node takes only what lies above its floor, so
// nothing that was deleted, and returns its floor. The renewal continues like a
// read: it puts its own changes alone, naming all floors that were returned,
// reads what the nodes have in the new session, and brings that to a quorum.
//
// While a node does not answer nothing is dropped, so a node that is
// unreachable may recover at any time. A process that is stalled for an hour
// longer than Config.Idle, and continues with a put, is not kept out from a
// node whose record has expired meanwhile.

// floorField is the name under which a record keeps its floor. No field has it,
// as checkName sees to.
const floorField = "\x00"

// maxFloors is how many floors before its own a record names.
const maxFloors = 4

// Tombstones are dropped when there are this many of them, or they take a
// quarter of Config.MaxSize.
const manyTombstones = 16

// errStale is why what was read has to be read again: fields have been dropped
// since.
var errStale = errors.New("redlock: deleted fields have been dropped since it was read")

// unsettled is the error of an operation for which enough nodes answered, but
// did not agree in maxTries.
func (s *Store) unsettled(op, hashed string, answered int) error {
	return &cluster.QuorumError{Op: op + " session", Key: s.label(hashed), Need: s.c.Quorum(), Got: answered, Err: errUnsettled}
}

var errUnsettled = fmt.Errorf("they have not agreed in %d tries on which deleted fields were dropped; try again", maxTries)

// droppedError is why a session that was to replace another lacks fields: nodes
// have dropped fields since that one was read.
type droppedError struct {
	floors   []version
	answered int // nodes
}

func (e *droppedError) Error() string { return errStale.Error() }

// floor is the version up to which fields may have been dropped from r, or "".
func (r *record) floor() version {
	if r == nil || r.fields[floorField] == "" {
		return ""
	}
	return r.fields[floorField][:versionWidth]
}

// floors is the floor of r, and those before it.
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

// floorOver is the field of a floor after others, of which "" is none.
func floorOver(floor version, before []version) string {
	before = slices.DeleteFunc(slices.Clone(before), func(f version) bool { return f == "" || f == floor })
	slices.SortFunc(before, func(a, b version) int { return strings.Compare(b, a) })
	before = slices.Compact(before)
	return floor + string(kindDeleted) + strings.Join(before[:min(len(before), maxFloors)], "")
}

// raised is r with this floor, for nodes that have one of the floors before it.
func (r *record) raised(floor version, before []version) *record {
	up := *r
	up.fields = maps.Clone(r.fields)
	up.fields[floorField] = floorOver(floor, before)
	return &up
}

// above is r with only the fields above a floor.
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

// known is the fields of r, with the floor that its own read has led to. It may
// name that floor, because it has the tombstones that every node had.
func (r *record) known() map[string]string {
	if r.dropped == nil || r.dropped.Load() == nil {
		return r.fields
	}
	up := maps.Clone(r.fields)
	up[floorField] = *r.dropped.Load()
	return up
}

// knowsAll reports whether all of these floors are known.
func knowsAll(known, floors []version) bool {
	return !slices.ContainsFunc(floors, func(f version) bool { return f != "" && !slices.Contains(known, f) })
}

// tombstones is the deleted fields of r, and the size of their names.
func (r *record) tombstones() (names []string, size int) {
	for name, f := range r.fields {
		if f[versionWidth] == kindDeleted && name != floorField {
			names = append(names, name)
			size += len(name)
		}
	}
	return names, size
}

// drop has the nodes drop the tombstones of fields, without waiting, if all
// nodes were seen to have these.
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
